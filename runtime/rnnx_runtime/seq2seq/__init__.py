"""Encoder and decoder pairs: the manifest that joins two models, and the call that decodes with them.

Each of the two is a model like any other, opened by the runtime's own loading.
"""
