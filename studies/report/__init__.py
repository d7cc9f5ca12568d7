"""A study of the source document."""
