"""Layers: ternary weights, state spaces, recurrent networks, fast weights, the hippocampus memory."""
