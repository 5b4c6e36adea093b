"""The network that TensorRT's importer makes of an ONNX graph, evaluated in NumPy with no GPU."""
