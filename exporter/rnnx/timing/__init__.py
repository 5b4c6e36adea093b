"""How fast a model is: latency, jitter, throughput and start-up, and the machine that was measured on.

A figure comes with its interval and with the conditions that it depends on.
"""
