"""Autoregressive decoders: a step's graph, and the unrolled and looping graphs that are made of it.

Pairs of an encoder and a decoder, their options and what PyTorch itself decodes belong here too.
"""
