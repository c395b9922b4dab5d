"""Networks in PyTorch: the readable reference, for training and export. Needs the extra `train`."""
