"""The Python interface, the Hugging Face hub and torch.hub."""
