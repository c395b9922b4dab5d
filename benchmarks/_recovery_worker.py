"""Protects one file with evidence in a process of its own, and says what was sealed.

Prints one JSON line: counters, and the SHA-256 of every entry's content before it was sealed, so
that what is opened later can be compared byte for byte with what went in.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pipeline.seal.group as sealing_of_groups
from pipeline import sealing
from pipeline.build import build_evidence, build_service
from pipeline.encode.probe import choose_encoder
from pipeline.evidence.group_record import Entry, GroupHead, Place
from pipeline.seal.tile_encoder import TileEncoder
from pipeline.sealing import Site
from pipeline.session import CameraSession
from pipeline.settings import FILE_DETECTOR, FILE_PROTECT, GroupSettings, Settings
from pipeline.vault import epoch_keys

Sealed = dict[str, str]
"""`name_of` an entry to the SHA-256 of its content."""


def name_of(head: GroupHead, place: Place) -> str:
    """Unique in a session."""
    return f"{head.epoch_id.hex()} {head.first} {place.kind} {place.track}"


def _note_what_is_sealed() -> Sealed:
    """The seal stage's own call, listened to."""
    sealed: Sealed = {}
    inner = epoch_keys.seal_entry

    def seal_entry(
        key: bytes, context: bytes, head: GroupHead, place: Place, plain: bytes
    ) -> Entry:
        sealed[name_of(head, place)] = hashlib.sha256(plain).hexdigest()
        return inner(key, context, head, place, plain)

    vars(sealing_of_groups)["seal_entry"] = seal_entry
    return sealed


def _live_tiles(*, lossless: bool, live: bool) -> TileEncoder:
    return TileEncoder(lossless=lossless, live=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("dest", help="a file or an rtsp:// URL")
    parser.add_argument("--recipient", type=Path, action="append", default=[])
    parser.add_argument("--detail", default="default")
    parser.add_argument("--carrier", default="stream")
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--tiles", choices=("file", "live"), default="file")
    options = parser.parse_args(arguments)
    evidence = {"carrier": options.carrier, "detail": options.detail} if options.recipient else None
    camera = {
        "id": "bench",
        "source": str(options.clip),
        "publish": [options.dest],
        "protect": FILE_PROTECT,
        "encode": {"codec": options.codec, "preset": options.preset, "crf": 23},
        "evidence": evidence,
    }
    groups = {f"group{n}": GroupSettings(keys=[key]) for n, key in enumerate(options.recipient)}
    settings = Settings.model_validate(
        {"recipients": groups, "detector": FILE_DETECTOR, "cameras": [camera]}
    )
    (one,) = settings.cameras
    choose_encoder(one.encode.codec, one.encode.encoder)
    sealed = _note_what_is_sealed()
    if options.tiles == "live":  # a file at full speed, with the tile coding of live streams
        vars(sealing)["TileEncoder"] = _live_tiles
    service = build_service(settings.detector)
    session = CameraSession(
        one,
        detector=settings.detector,
        service=service,
        retry=False,
        evidence=build_evidence(one, Site("bench", settings.recipients)),
    )
    started, cpu = time.monotonic(), time.process_time()
    session.start()
    session.wait()
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    service.close()
    print(
        json.dumps(
            {
                "frames": session.counts.frames_out,
                "seconds": seconds,
                "cpu_seconds": cpu,
                "face_frames": session.counts.face_frames,
                "obscured": sum(session.redactions().values()),
                "record_bytes": session.evidence.counts.record_bytes if session.evidence else 0,
                "sealed": sealed,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
