"""From the recordings on the disk to the database; lost, it is made again by the same code."""
