"""Live Python models before anything is traced: factories, example inputs, options, lines of their source.

Nothing here knows ONNX.
"""
