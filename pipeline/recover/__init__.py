"""The mirror of protect: from a protected clip and a key to the faces."""
