"""A whole model as one that takes its sequence in chunks: what looks along time carries the frames that it needs.

`planning.py` says what each value of a traced program is in a stream, the modules of rules how an operator computes it
there, and `streaming_model.py` is the module that does.
"""
