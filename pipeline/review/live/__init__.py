"""The console's side of the live pictures: streams and facts from the cameras' process."""
