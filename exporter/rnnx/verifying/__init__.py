"""Verification: every backend opened, compared with the truth, checked, timed, and diagnosed where it fails.

There is one pipeline for each kind of model, and both fill the same report.
"""
