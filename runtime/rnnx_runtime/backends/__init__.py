"""What runs a model: ONNX Runtime and TensorRT behind one Protocol, opened by their names in one table.

Each backend's own engine, context, options and failures are here, and nothing of sessions.
"""
