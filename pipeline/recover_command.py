"""`bauta recover`: sealed faces by their keys, or faces from a clip's own pixels (--in-band)."""

from __future__ import annotations

import argparse

from .errors import UsageError

IN_BAND_ONLY = {
    "password": "--password",
    "password_from_env": "--password-from-env",
    "first_frame": "--first-frame",
    "keyframes_only": "--keyframes-only",
    "search": "--search",
    "frame": "--frame",
    "around": "--around",
}
SEALED_ONLY = {
    "release": "--release",
    "disclosure": "--disclosure",
    "service": "--service",
    "lossless": "--lossless",
    "no_mark": "--no-mark",
    "drop_audio": "--drop-audio",
    "request": "--request",
    "console": "--console",
}


def recover(options: argparse.Namespace) -> int:
    """Write DEST and what belongs to it. Raises BautaError; exit code 1 where no face opened."""
    if options.in_band:
        _refuse(options, SEALED_ONLY, "is not for --in-band")
        if options.key is not None and len(options.key) > 1:
            raise UsageError("--in-band needs one --key: any of those it was protected for")
        from .recover_in_band import recover as recover_fused

        return recover_fused(options)
    _refuse(options, IN_BAND_ONLY, "needs --in-band: it is about faces in the picture itself")
    if not options.key:
        raise UsageError("who opens it? Give --key FILE; of each group of recipients one is needed")
    if options.disclosure is not None and (options.release or len(options.key) > 1):
        raise UsageError("--disclosure is opened by one --key, its receiver's, and nothing else")
    if options.console is not None and options.request is None:
        raise UsageError("--console needs --request: it says who must have signed that")
    if options.disclosure is not None and options.request is not None:
        raise UsageError("--disclosure is not for --request: both say whom they are about")
    from .recover_evidence import recover as recover_sealed

    return recover_sealed(options)


def _refuse(options: argparse.Namespace, names: dict[str, str], why: str) -> None:
    for name, option in names.items():
        value = getattr(options, name)
        if value is not None and value is not False:  # 0 is a frame
            raise UsageError(f"{option} {why}")
