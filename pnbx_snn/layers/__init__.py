"""Layers: ternary weights, learned delays, state spaces, recurrent networks, fast weights, the hippocampus memory."""
