"""What is true: seeded inputs, the float64 outputs that they have, and the golden files that keep both.

The oracle is NumPy for bare layers and PyTorch itself for whole models.
"""
