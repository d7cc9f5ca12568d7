"""Programs on emulated microcontrollers: memory, instructions, and MNIST in 12.6 kB of weights."""
