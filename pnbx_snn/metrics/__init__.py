"""What a network costs: parameters, operations, bytes, spikes, energy, NeuroBench."""
