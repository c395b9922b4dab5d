"""A recovery as its manifest and its report are made of it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pipeline.recover.evidence_video import EvidenceCounts
from pipeline.recover.gaps import NO_RECORD, Gap
from pipeline.recover.manifest import (
    EpochNote,
    FileNote,
    KeyNote,
    PackageNote,
    Recovery,
    RequestNote,
)
from pipeline.recover.stills import Still
from pipeline.vault.audit_line import Head

PNG = cv2.imencode(".png", np.full((8, 6, 3), 90, np.uint8))[1].tobytes()
HASHES = {name: f"{number:064x}" for number, name in enumerate(("clip", "out", "log"), start=1)}


A_REQUEST = RequestNote(
    id="R-4QX7ZK2M",
    site="North",
    camera="gate-3",
    requested_by="dana",
    requested_utc="2026-11-20T08:00:00.000Z",
    approved_by="milo",
    approved_utc="2026-11-20T09:00:00.000Z",
    expires_utc="2026-11-27T09:00:00.000Z",
    from_utc="2026-11-19T08:00:00.000Z",
    to_utc="2026-11-19T08:00:10.000Z",
    signer="SHA256:console",
    is_verified=False,
    is_lock=True,
    sha256="cd" * 32,
    epochs=12,
    epochs_in_clip=10,
)


def a_recovery(**changes: object) -> Recovery:
    """Of one person, the origin not verified."""
    recovery = Recovery(
        case="17/26",
        reason="theft, hall 3",
        user="dana",
        created_utc="2026-11-21T10:00:00Z",
        clip=FileNote("lobby.mp4", HASHES["clip"]),
        sidecar=None,
        output=FileNote("opened.mp4", HASHES["out"]),
        tracks=(12,),
        from_seconds=80.0,
        to_seconds=105.5,
        keys=(KeyNote("age1dpo", "SHA256:dpo", used=True),),
        packages=(
            PackageNote(
                what="release",
                sha256="ab" * 32,
                case="16/26",
                reason="asked for",
                made_utc="2026-11-20T09:00:00+00:00",
                maker_signing="SHA256:police",
                is_for_these_bytes=True,
                tracks=(12,),
            ),
        ),
        is_origin_verified=False,
        service=None,
        origin=("origin not verified: no key is pinned",),
        epochs=(
            EpochNote(
                epoch="00" * 16,
                site="North",
                camera="gate-3",
                started_utc="2026-11-19T08:00:00.000Z",
                first_frame=0,
                last_frame=49,
                service="SHA256:service",
                origin="no key is pinned",
                opened_by=("dpo",),
                released_by=("police",),
                groups=("dpo", "police"),
            ),
        ),
        gaps=(Gap(NO_RECORD, None, 40, 47, 1.6, 1.88),),
        counts=EvidenceCounts(frames=50, recovered_frames=42, faces=40, moved=2, tracks={12}),
        is_marked=True,
        is_lossless=False,
        has_audio=True,
        head=Head(3, HASHES["log"]),
        stills=(Still(12, 30, 1.2, PNG, PNG),),
    )
    return replace(recovery, **changes)  # type: ignore[arg-type]
