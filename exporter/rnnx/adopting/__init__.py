"""An ONNX file of any exporter made a model of rnnx: read, tried out, written with a contract and sealed.

What a graph says is a guess until running it has shown it; weights are never changed.
"""
