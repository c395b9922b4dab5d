"""`bauta verify`: whose a clip is, whether all of it is there and as it was. It opens nothing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from .errors import VaultError
from .evidence.key_record import KeyGroup, KeyRecord
from .recover.clip_records import ClipRecords, Epoch, read_clip
from .recover.clip_tracks import group_needs
from .recover.origin import NOT_PINNED, Origin, check_origin
from .recover.wording import clock, counted, frames_at
from .terminal import say
from .tracks_command import without_records
from .vault.signing import fingerprint, load_public

MOST_CHANGES = 6  # of the recipients, told one by one
_HOW_TO_PIN = "give --service SERVICE.pub, as the operator of the cameras hands it out"


def verify(options: argparse.Namespace) -> int:
    """Print what holds; exit code 0 only where all of it does. Raises BautaError."""
    pinned = None if options.service is None else load_public(options.service)
    clip = read_clip(options.clip, options.sidecar)
    if clip.is_without_records:
        raise VaultError(without_records(clip))
    origin = check_origin(clip, pinned)
    if options.json:
        print(json.dumps(_fields(clip, origin, pinned)))
    else:
        for line in (*_what(clip), *_verdict(clip, origin, pinned)):
            say(line)
    return 0 if origin.is_whole else 1


# --- for people ---


def _what(clip: ClipRecords) -> Iterator[str]:
    records = [epoch.record for epoch in clip.epochs]
    yield f"{clip.clip}"
    yield _line(
        "camera", _distinct(f"{r.camera}, {r.site}" if r.site else r.camera for r in records)
    )
    yield _line("when", f"{_span(_began(clip), _ended(clip))} UTC, by the service's clock")
    frames = f"{counted(len(clip.frames), 'frame')} in {counted(len(clip.epochs), 'epoch')}"
    yield _line("length", f"{clock(clip.length_seconds)}, {frames}")
    yield from _recipients(clip)
    carrier = "in the stream" if clip.sidecar is None else f"sidecar {clip.sidecar}"
    yield _line("carrier", carrier)


def _recipients(clip: ClipRecords) -> Iterator[str]:
    """One line for each change of them."""
    changes = [next(epochs) for _, epochs in groupby(clip.epochs, lambda e: group_needs(e.record))]
    for epoch in changes[:MOST_CHANGES]:
        since = "" if len(changes) == 1 else f" (from {clock(clip.seconds[epoch.start])} on)"
        yield _line("recipients", "; ".join(map(_keys_of, epoch.record.groups)) + since)
    if len(changes) > MOST_CHANGES:
        yield _line("recipients", f"and {len(changes) - MOST_CHANGES} more changes; see --json")


def _verdict(clip: ClipRecords, origin: Origin, pinned: bytes | None) -> Iterator[str]:
    if origin.is_verified and pinned is not None:
        yield f"origin: verified, {fingerprint(pinned)}"
    for reason in origin.unverified:
        if reason == NOT_PINNED:
            named = " and ".join(origin.fingerprints)
            reason = f"{reason}; the records name {named}: {_HOW_TO_PIN}"
        yield f"ORIGIN UNVERIFIED: {reason}"
    if origin.is_complete:
        tail = ""
        if origin.tail:
            waited = counted(origin.tail, "frame")
            tail = f" (no record of the last {waited}: a stream that is stopped or cut ends so)"
        yield f"complete: yes{tail}"
    for line in origin.incomplete:
        yield f"complete: no: {line}"
    if origin.is_unaltered:
        yield "unaltered: yes"
    else:
        yield f"unaltered: no: {frames_at(origin.altered, clip.seconds)}"
    if clip.has_audio:
        yield "sound: not covered: the records are of pictures alone"


def _line(name: str, text: str) -> str:
    return f"  {name + ':':<12}{text}"


def _distinct(texts: Iterator[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _keys_of(group: KeyGroup) -> str:
    if group.threshold == 1:
        return f"{group.name}: 1 of its keys"
    return f"{group.name}: {group.threshold} of its {len(group.age_files)} keys"


def _began(clip: ClipRecords) -> float:
    return clip.epochs[0].record.started_utc_ms / 1000


def _ended(clip: ClipRecords) -> float:
    """When its last frame was made: the last epoch's start, and how far into it the clip goes."""
    last = clip.epochs[-1]
    seconds = clip.seconds
    return last.record.started_utc_ms / 1000 + seconds[last.end - 1] - seconds[last.start]


def _span(began: float, ended: float) -> str:
    first, last = _utc(began), _utc(ended)
    day = first[: len("2026-01-01 ")]
    return f"{first} to {last.removeprefix(day)}"


def _utc(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):  # a record may say anything
        return "a time that no calendar has"


# --- for programs ---


def _fields(clip: ClipRecords, origin: Origin, pinned: bytes | None) -> dict[str, object]:
    return {
        "clip": str(clip.clip),
        "clip_sha256": clip.clip_sha256,
        "codec": clip.codec,
        "carrier": clip.carrier,
        "sidecar": _path(clip.sidecar),
        "frames": len(clip.frames),
        "video_streams": clip.video_streams,
        "sound": "not covered" if clip.has_audio else None,
        "epochs": [
            _epoch_fields(epoch, verdict.is_verified)
            for epoch, verdict in zip(clip.epochs, origin.epochs, strict=True)
        ],
        "service_key": None if pinned is None else fingerprint(pinned),
        "keys_in_records": list(origin.fingerprints),
        "origin_verified": origin.is_verified,
        "unverified": list(origin.unverified),
        "complete": origin.is_complete,
        "incomplete": list(origin.incomplete),
        "frames_without_record_at_end": origin.tail,
        "unaltered": origin.is_unaltered,
        "altered_frames": list(origin.altered),
        "problems": list(clip.problems),
        "whole": origin.is_whole,
    }


def _epoch_fields(epoch: Epoch, is_verified: bool) -> dict[str, object]:
    record: KeyRecord = epoch.record
    return {
        "id": record.epoch_id.hex(),
        "sequence": record.sequence,
        "started_utc_ms": record.started_utc_ms,
        "site": record.site,
        "camera": record.camera,
        "detail": record.detail,
        "first_frame": epoch.start,
        "frames": epoch.end - epoch.start,
        "origin_verified": is_verified,
        "service_key": fingerprint(record.service_key),
        "recipients": [
            {
                "name": group.name,
                "needed": group.threshold,
                # how many one age file is for, it does not say
                "keys": None if group.threshold == 1 else len(group.age_files),
            }
            for group in record.groups
        ],
    }


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)
