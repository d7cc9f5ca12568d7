"""Measurements of PNB-X against its rivals: ``make bench``, or ``python -m studies.bench --help``."""
