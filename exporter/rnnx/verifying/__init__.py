"""Verification: every backend opened, compared with the truth, checked, timed, and diagnosed where it fails.

The kinds of models differ in where their truth comes from alone.
"""
