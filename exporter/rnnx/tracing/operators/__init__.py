"""Operators as torch.onnx, ONNX Runtime and TensorRT take them: written with others, or kept from being baked.

A module here replaces one kind of operator, in the model's code, its trace or its graph.
"""
