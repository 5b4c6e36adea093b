"""Where the path of an output leads, and what may be done there; one rule for every command.

Nothing here knows what is written.
"""
