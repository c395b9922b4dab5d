"""What the console keeps: an index of the recordings, and accounts, sessions and requests."""
