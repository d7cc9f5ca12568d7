"""Search for networks that read well and cost little: many short trainings, and the Pareto front of what they found."""
