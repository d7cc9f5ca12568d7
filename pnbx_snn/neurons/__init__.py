"""Spiking neurons, and what acts on them: messages, glia, noise."""
