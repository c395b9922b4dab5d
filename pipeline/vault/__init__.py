"""Keys: what they derive, and who may open what."""
