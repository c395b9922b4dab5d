"""Packets to files, recordings, playlists and networks: several at once, none waits for another."""
