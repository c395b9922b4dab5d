"""Training of the fusion networks. Needs the extra `train`."""
