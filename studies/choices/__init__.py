"""Where the points go: what weights, events, depth and readout cost, and what each way of training buys."""
