"""The sizes that a trace leaves free, fixes or takes for granted, and the proof of what the graph holds of them.

A module here asks which sizes an axis may have, or keeps one free that a trace would fix.
"""
