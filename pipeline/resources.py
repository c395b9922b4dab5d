"""Files that ship with the product: configurations, model catalogue, weights.

A wheel carries them as package data; a checkout has them in its top-level configs/.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PACKAGED = _PACKAGE / "_data" / "configs"  # made by setup.py, only inside a built wheel
_CHECKOUT = _PACKAGE.parent / "configs"


def config_path(name: str) -> Path:
    """The shipped file configs/`name`. Raises FileNotFoundError where it is missing."""
    # An installed wheel never looks beside itself: site-packages/configs would be somebody else's.
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FileNotFoundError(f"{name!r} is not a name inside configs/")
    if not path.is_file():
        raise FileNotFoundError(
            f"configs/{name} is missing from this installation (looked in {folder}); "
            "reinstall bauta or use a complete checkout"
        )
    return path
