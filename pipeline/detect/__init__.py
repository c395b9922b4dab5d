"""Planes to `Detections`: when to look, at what size, and what the network said."""
