"""The end that all exports share: a graph written, streamed to disk with its weights, sealed and checked.

What the graph computes was decided before it gets here.
"""
