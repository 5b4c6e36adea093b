"""A whole model as one that takes its sequence in chunks: what looks along time carries the frames that it needs.

`stream_plan.py` reads a traced program and says what each of its values is in a stream; `streaming_model.py` is the module
that runs it so.
"""
