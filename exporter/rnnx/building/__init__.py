"""The door of engines: a sealed .onnx, or another exporter's, becomes a .plan with its sidecar.

What it takes to build one is in `rnnx.engines`.
"""
