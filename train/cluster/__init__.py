"""Many processes that make one run: their start, what they agree on, their end."""
