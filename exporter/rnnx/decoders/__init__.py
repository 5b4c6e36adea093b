"""Autoregressive decoders: a step's graph, and the unrolled and looping graphs that are made of it."""
