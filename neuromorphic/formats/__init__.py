"""Formats of others: NIR and lava-dl's netx."""
