"""From a trained network to the files the runtimes open, and how far the runtimes agree."""
