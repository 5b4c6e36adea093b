"""How near a backend's values are to the float64 truth, and whether that is near enough.

The one table of tolerances, the limits made of it, and the results of comparisons belong here.
"""
