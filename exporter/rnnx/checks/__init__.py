"""Properties that a right backend has whatever the weights are, one a file.

A check runs a backend several times and compares its results with each other or with the truth.
"""
