"""Properties that a right backend has whatever the weights are, one a file."""
