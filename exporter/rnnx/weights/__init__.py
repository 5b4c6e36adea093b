"""Trained weights, read from any file without running code in it, and checked to be a recurrence's.

Formats of checkpoints, the survey of their layers and the fit to a module belong here.
"""
