"""What makes the nodes of each primitive: a file for each subject, one table."""
