"""Face boxes and planes to `FacePatch`es."""
