"""Patches into the planes, and the gate: the only way out of the process."""
