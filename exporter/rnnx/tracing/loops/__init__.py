"""Python loops over time as one ONNX Scan: a model is traced at three lengths, and the repeated step is written once.

`rolling` is the door; the other modules are its steps, from the unrolled program to the Scan's body.
"""
