"""Detectors: blocks, the layer-list graph, the head, the zoo, weights and the importer of foreign checkpoints."""
