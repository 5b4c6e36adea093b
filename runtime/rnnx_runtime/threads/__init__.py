"""What threads share: latches to wait at, gates that calls go through, and the interpreter's end.

Nothing here knows what the threads do.
"""
