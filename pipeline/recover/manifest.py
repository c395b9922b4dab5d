"""What belongs to a recovered video: what came in and went out, who, why, by which keys."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..vault.audit_line import Head
from ..version import __version__
from .evidence_video import EvidenceCounts
from .gaps import Gap
from .origin import Origin
from .stills import Still
from .wording import counted

FORMAT = "bauta recovery 1"


@dataclass(frozen=True, slots=True)
class FileNote:
    """A file as it was read or written."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class KeyNote:
    """A key that was given, by its public halves."""

    age: str  # age1…
    signing: str  # SHA256:…
    used: bool  # it had a part in what opened


@dataclass(frozen=True, slots=True)
class PackageNote:
    """A disclosure or release that was opened."""

    what: str
    sha256: str
    case: str
    reason: str
    made_utc: str
    maker_signing: str  # SHA256:… of the key that signed it; the rest is what the maker says
    is_for_these_bytes: bool  # False: made from another copy of the same recording
    tracks: tuple[int, ...] | None  # None: everybody


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNote:
    """An approved request that was carried out. Times are ISO 8601, by the console's clock."""

    id: str
    site: str
    camera: str
    requested_by: str
    requested_utc: str
    approved_by: str
    approved_utc: str
    expires_utc: str
    from_utc: str
    to_utc: str
    signer: str  # SHA256:…
    is_verified: bool  # the signer is the console that was named
    is_lock: bool  # an approver's release is in it; else the approval is advice
    sha256: str  # of the file
    epochs: int  # that it is about
    epochs_in_clip: int  # of those

    @property
    def verdict(self) -> str:
        """Whether it is known who wrote it."""
        return "REQUEST VERIFIED" if self.is_verified else "REQUEST UNVERIFIED"


@dataclass(frozen=True, slots=True)
class EpochNote:
    """One stretch of the clip under one set of secrets."""

    epoch: str  # id, hexadecimal
    site: str
    camera: str
    started_utc: str  # by the service's clock
    first_frame: int
    last_frame: int
    service: str  # SHA256:… of the key that signed it, as it says
    origin: str  # in words
    opened_by: tuple[str, ...]  # groups whose keys were there
    released_by: tuple[str, ...]  # groups of which a package had something
    groups: tuple[str, ...]  # all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Everything that is said of one recovery."""

    case: str
    reason: str
    user: str
    created_utc: str
    clip: FileNote
    sidecar: FileNote | None
    output: FileNote
    tracks: tuple[int, ...]  # asked for; empty: everybody
    from_seconds: float
    to_seconds: float | None  # None: to the end
    keys: tuple[KeyNote, ...]
    packages: tuple[PackageNote, ...]
    is_origin_verified: bool
    service: str | None  # SHA256:… of the key that was pinned
    origin: tuple[str, ...]  # what is wrong with it, in words
    epochs: tuple[EpochNote, ...]
    gaps: tuple[Gap, ...]
    counts: EvidenceCounts
    is_marked: bool
    is_lossless: bool
    has_audio: bool
    head: Head  # of the audit log, after this recovery's entry
    stills: tuple[Still, ...]
    request: RequestNote | None = None


def as_json(recovery: Recovery) -> bytes:
    """The manifest."""
    counts = recovery.counts
    fields = {
        "format": FORMAT,
        "tool": f"bauta {__version__}",
        "created": recovery.created_utc,
        "case": recovery.case,
        "reason": recovery.reason,
        "user": recovery.user,
        "clip": asdict(recovery.clip),
        "sidecar": asdict(recovery.sidecar) if recovery.sidecar else None,
        "output": asdict(recovery.output),
        "asked_for": {
            "tracks": list(recovery.tracks) or "all",
            "from_seconds": recovery.from_seconds,
            "to_seconds": recovery.to_seconds,
        },
        "keys": [asdict(key) for key in recovery.keys],
        "packages": [asdict(package) for package in recovery.packages],
        "request": _request(recovery.request),
        "origin": {
            "verified": recovery.is_origin_verified,
            "verdict": verdict(recovery),
            "service": recovery.service,
            "findings": list(recovery.origin),
        },
        "epochs": [asdict(epoch) for epoch in recovery.epochs],
        "gaps": [asdict(gap) for gap in recovery.gaps],
        "counts": asdict(counts) | {"tracks": sorted(counts.tracks)},
        "video": {
            "marked": recovery.is_marked,
            "lossless": recovery.is_lossless,
            "audio": recovery.has_audio,
        },
        "audit": {"count": recovery.head.count, "hash": recovery.head.hash},
    }
    return _escaped(json.dumps(fields, indent=2, ensure_ascii=False)).encode() + b"\n"


def _request(note: RequestNote | None) -> dict[str, object] | None:
    return None if note is None else asdict(note) | {"verdict": note.verdict}


def _escaped(text: str) -> str:
    """Letters as they are, but nothing that steers a terminal, and no surrogate by itself."""
    return "".join(
        letter if letter == "\n" or letter.isprintable() else json.dumps(letter)[1:-1]
        for letter in text
    )


def verdict(recovery: Recovery) -> str:
    """Whether it is known who made the clip."""
    if recovery.is_origin_verified:
        return "ORIGIN VERIFIED"
    return "ORIGIN UNVERIFIED"


def findings(origin: Origin) -> tuple[str, ...]:
    """What is wrong with the clip as a whole, as far as signatures tell."""
    found = [f"origin not verified: {why}" for why in origin.unverified]
    found += [f"not complete: {why}" for why in origin.incomplete]
    if origin.altered:
        count = len(origin.altered)
        found.append(f"altered: {counted(count, 'frame')} not as the records say")
    if origin.tail:
        found.append(f"at its end {counted(origin.tail, 'frame')} without a record yet: normal")
    return tuple(found)


def manifest_path(dest: Path) -> Path:
    """Beside the recovered video."""
    return dest.with_name(dest.name + ".manifest.json")


def report_path(dest: Path) -> Path:
    """Beside the recovered video."""
    return dest.with_name(dest.name + ".report.html")


def sha256_of(path: Path) -> str:
    """Of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def utc_now() -> str:
    """To the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(milliseconds: int) -> str:
    """Of a record's clock, which may be anything."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms after 1970"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
