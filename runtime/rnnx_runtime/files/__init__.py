"""Files as bytes that are checked before anything trusts them: models, sidecars, seals, metadata.

Nothing here opens an engine or imports onnx.
"""
