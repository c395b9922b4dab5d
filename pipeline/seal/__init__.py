"""Seals what protection took away, and lays it into the protected stream."""
