"""What a second thread, a second process and larger batches bring here, and a model of more machines."""
