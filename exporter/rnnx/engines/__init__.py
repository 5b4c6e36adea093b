"""From an exported .onnx to a TensorRT engine: options, profiles, the build and what TensorRT says meanwhile.

Both libraries, TensorRT and TensorRT for RTX, hide behind one adapter.
"""
