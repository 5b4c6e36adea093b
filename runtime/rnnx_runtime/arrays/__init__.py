"""Arrays on their way into and out of a session: viewed, measured, laid out and checked.

Nothing here knows which engine computes.
"""
