"""Bauta: hides every face of a camera stream before anyone sees it.

The rooms stand in the order of the data: source, detect, track, protect, compose, encode,
publish. A stage imports frames, settings, errors and runtime, and no other stage; only `build`
and `session` know them all.
"""

from .version import __version__

__all__ = ["__version__"]
