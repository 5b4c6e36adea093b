"""Where and why a backend differs from the truth."""
