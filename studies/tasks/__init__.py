"""What finished trainings of the tasks of docs/results.md reach on test samples, beside the rivals', by bytes."""
