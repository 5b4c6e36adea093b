"""What a model does, found by running it: how it streams, and how its rows go together.

Whatever runs can be asked: PyTorch in float64, or a file in an engine.
"""
