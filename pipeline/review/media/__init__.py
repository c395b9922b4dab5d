"""Recordings as bytes: what a player, an export and a thumbnail need of them."""
