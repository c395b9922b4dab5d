"""Where frames come from: cameras, files and scenes made on the spot."""
