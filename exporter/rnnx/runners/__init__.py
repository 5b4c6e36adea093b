"""Whatever computes outputs from feeds: a session, PyTorch, a process of its own, a foreign file.

A row of a report is one of them, opened or refused with the reason.
"""
