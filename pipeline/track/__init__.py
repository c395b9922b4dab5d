"""`Detections` to tracks: who is where in every frame, before the first look and after loss."""
