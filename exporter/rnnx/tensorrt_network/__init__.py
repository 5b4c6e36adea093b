"""The network that TensorRT's importer makes of an ONNX graph, evaluated in NumPy with no GPU.

Each family of layers is a file; a layer that none of them knows is refused by name.
"""
