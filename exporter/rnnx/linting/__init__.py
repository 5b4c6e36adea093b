"""What is wrong, or may go wrong, with an ONNX file, told from its graph alone: `rnnx doctor`.

The examination and its findings are here; what it looks for is in `rules`.
"""
