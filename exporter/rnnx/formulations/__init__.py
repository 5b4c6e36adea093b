"""Formulations of a recurrence as ONNX graphs: one contract, one way to compute it a file.

`choice` says which one is written where the caller names none.
"""
