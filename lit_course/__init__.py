"""Supervised-learning modules for PyTorch Lightning."""
