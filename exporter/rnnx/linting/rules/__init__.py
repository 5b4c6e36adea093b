"""What `rnnx doctor` looks for in a graph, one family of rules a file.

A rule reads a model and yields findings; it runs nothing.
"""
