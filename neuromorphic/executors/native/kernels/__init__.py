"""What the compiled loop is made of: sums, neurons, memories and images, over vectors of the processor."""
