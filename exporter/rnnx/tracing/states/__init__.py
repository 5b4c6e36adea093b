"""The states of a model: found, lifted out of it, named, and followed through what it computes.

A module here says which of a model's values go from one call to the next.
"""
