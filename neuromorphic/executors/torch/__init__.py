"""Programs on torch's devices: cpu, cuda, xpu. Imported only when the executor ``torch`` is asked for."""
