"""CUDA by way of cuda-bindings: devices, streams, buffers, memory, graphs.

Nothing here knows a model or an engine, and nothing is imported before it is needed.
"""
