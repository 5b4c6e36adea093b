"""Whole models: traced by torch.export with their recurrent layers opaque, each of which then becomes a formulation.

What a trace would fix or hide is found here and refused with the line of the model that does it.
"""
