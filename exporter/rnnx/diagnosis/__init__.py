"""Why a row failed: one family of causes a file, and `causes` is their table.

Each cause is a hypothesis that is simulated in NumPy and held against what the backend gave.
"""
