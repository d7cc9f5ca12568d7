"""Training from a configuration: settings, the loop, checkpoints, logs, processes."""
