"""Latency, jitter, throughput and start-up, measured so that the figures mean something."""
