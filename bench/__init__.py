"""Benchmarks: each prints a table; figures are for this machine, ratios for all. Never timed tests."""
