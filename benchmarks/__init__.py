"""Measurements of PNB-X against its rivals: ``make bench``, or ``python -m benchmarks --help``."""
