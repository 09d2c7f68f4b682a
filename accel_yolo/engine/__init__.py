"""Processes, the loop, evaluation, checkpoints: the only package that imports accelerate or torch.distributed."""
