"""The door of export: a layer, a model or what a factory makes goes in, checked files come out.

It decides what is exported how; the work is done in the rooms below it.
"""
