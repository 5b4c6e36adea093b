"""The same recurrence as different ONNX graphs: one contract, one formulation a file."""
