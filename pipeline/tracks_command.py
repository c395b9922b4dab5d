"""`bauta tracks`: who is in a protected clip, and when. It needs no key and opens nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .errors import SinkError, UsageError, VaultError
from .recover.clip_records import ClipRecords, read_clip
from .recover.clip_tracks import ClipTrack, tracks_of
from .recover.wording import clock, printable
from .terminal import say, say_table, warn

_COLUMNS = ("track", "first", "last", "frames", "largest px", "opens with")
_LEFT = {"opens with"}


def tracks(options: argparse.Namespace) -> int:
    """Print the table and write the sheet. Raises BautaError."""
    sheet: Path | None = options.sheet
    if sheet is not None:
        _check_sheet(sheet, options.clip, overwrite=options.overwrite)
    clip = read_clip(options.clip, options.sidecar)
    if clip.is_without_records:
        raise VaultError(without_records(clip))
    found = tracks_of(clip)
    if sheet is not None:
        from .recover.contact_sheet import contact_sheet

        _write(sheet, contact_sheet(clip, found))
    if options.json:
        print(json.dumps(_fields(clip, found, sheet)))
    else:
        _print_table(clip, found)
        for problem in clip.problems:
            warn(f"{problem}; see: bauta verify")
        if sheet is not None:
            say(f"{sheet}: the tracks in the protected picture")
    return 0


def without_records(clip: ClipRecords) -> str:
    """One line for a clip of which nothing can be told."""
    damaged = f" ({'; '.join(clip.problems)})" if clip.problems else ""
    if clip.sidecar is not None:
        return f"{clip.sidecar}: holds no key record{damaged}; give the sidecar of {clip.clip}"
    return (
        f"{clip.clip}: holds no records of bauta/1{damaged}; if a recorder took them out, give the "
        "sidecar: --sidecar FILE"
    )


def _check_sheet(sheet: Path, clip: Path, *, overwrite: bool) -> None:
    if sheet.suffix.lower() != ".png":
        raise UsageError(f"{sheet}: the sheet's name must end in .png")
    if not sheet.parent.is_dir():
        raise UsageError(f"{sheet.parent}: no such folder")
    if sheet.exists() and clip.exists() and sheet.samefile(clip):
        raise UsageError("CLIP and SHEET are the same file")
    if sheet.exists() and not overwrite:
        raise UsageError(f"{sheet} exists; add --overwrite to replace it")


def _write(sheet: Path, png: bytes) -> None:
    part = sheet.with_name(sheet.name + ".part")
    try:
        part.write_bytes(png)
        part.replace(sheet)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise SinkError(f"{sheet}: {error.strerror}") from None


def _print_table(clip: ClipRecords, found: Sequence[ClipTrack]) -> None:
    if not found:
        say(f"{clip.clip}: its records hold no faces")
        return
    sessions = len({track.session for track in found}) > 1
    header = ("session", *_COLUMNS) if sessions else _COLUMNS
    seconds = clip.seconds
    rows = [_row(seconds, track, sessions=sessions) for track in found]
    say_table(header, rows, left=_LEFT)


def _row(seconds: Sequence[float], track: ClipTrack, *, sessions: bool) -> tuple[str, ...]:
    row = (
        str(track.track),
        clock(seconds[track.first]),
        clock(seconds[track.last]),
        str(track.frames),
        f"{track.largest_px[0]}x{track.largest_px[1]}",
        printable("; or ".join(track.needs)),
    )
    return (str(track.session), *row) if sessions else row


def _fields(clip: ClipRecords, found: Sequence[ClipTrack], sheet: Path | None) -> dict[str, object]:
    seconds = clip.seconds
    return {
        "clip": str(clip.clip),
        "clip_sha256": clip.clip_sha256,
        "sheet": None if sheet is None else str(sheet),
        "tracks": [
            {
                "session": track.session,
                "track": track.track,
                "first_seconds": round(seconds[track.first], 3),
                "last_seconds": round(seconds[track.last], 3),
                "first_frame": track.first,
                "last_frame": track.last,
                "frames": track.frames,
                "largest_px": list(track.largest_px),
                "groups": list(track.needs),
            }
            for track in found
        ],
        "problems": list(clip.problems),
    }
