"""What `rnnx doctor` looks for in an ONNX graph, one family of rules a file."""
