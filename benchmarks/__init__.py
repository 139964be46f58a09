"""Measurements of the whole program; ``make results`` and ``make bench`` run them."""
