"""`bauta recover --request`: who asked, who approved, and exactly what may be opened."""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import RecordError, RequestRefused, UsageError
from .recover.clip_records import ClipRecords
from .recover.manifest import RequestNote
from .recover.wording import counted
from .terminal import warn
from .vault.request_file import MOST_BYTES, RecoveryRequest, read_request, utc_text
from .vault.signing import fingerprint, load_public

SAID_BY_REQUEST = {
    "case": "--case",
    "reason": "--reason",
    "track": "--track",
    "from_seconds": "--from",
    "to_seconds": "--to",
}


@dataclass(frozen=True, slots=True)
class Approved:
    """A request file as it was read, and what is known of who wrote it."""

    request: RecoveryRequest
    signer: bytes  # (32,)
    is_verified: bool  # the signer is the console that was named
    sha256: str  # of the file

    def epochs_in(self, clip: ClipRecords) -> int:
        """How many of those that were approved are in the clip."""
        return len({each.record.epoch_id for each in clip.epochs} & self.request.selection.keys())

    def check_clip(self, clip: ClipRecords) -> None:
        """Epoch ids are public: whoever took the wrong file is told. Raises UsageError."""
        if not self.epochs_in(clip):
            asked = self.request
            raise UsageError(
                f"{clip.clip} holds nothing that {asked.id} is about: that is camera "
                f"{asked.camera}, {asked.from_utc} to {asked.to_utc} (bauta requests clip "
                f"{asked.id} gets the clip)"
            )

    def note(self, clip: ClipRecords) -> RequestNote:
        """For manifest and report."""
        asked = self.request
        return RequestNote(
            id=asked.id,
            site=asked.site,
            camera=asked.camera,
            requested_by=asked.requested_by,
            requested_utc=asked.requested_utc,
            approved_by=asked.approved_by,
            approved_utc=asked.approved_utc,
            expires_utc=asked.expires_utc,
            from_utc=asked.from_utc,
            to_utc=asked.to_utc,
            signer=fingerprint(self.signer),
            is_verified=self.is_verified,
            is_lock=asked.is_lock,
            sha256=self.sha256,
            epochs=len(asked.selection),
            epochs_in_clip=self.epochs_in(clip),
        )

    def entry(self) -> dict[str, object]:
        """What the audit log says of it."""
        return {
            "id": self.request.id,
            "requested_by": self.request.requested_by,
            "approved_by": self.request.approved_by,
            "approval": "lock" if self.request.is_lock else "advice",
            "from": self.request.from_utc,
            "to": self.request.to_utc,
            "signer": fingerprint(self.signer),
            "verified": self.is_verified,
            "sha256": self.sha256,
        }

    def tell(self, clip: ClipRecords) -> None:
        """What whoever carries it out should know, on standard error."""
        if not self.is_verified:
            warn(
                "REQUEST UNVERIFIED: anybody can have written this request, signed by "
                f"{fingerprint(self.signer)}; give --console CONSOLE.pub"
            )
        here, whole = self.epochs_in(clip), len(self.request.selection)
        if here < whole:
            warn(
                f"{clip.clip} holds {here} of the {counted(whole, 'keyframe interval')} that "
                f"{self.request.id} is about"
            )


def read_approved(options: argparse.Namespace) -> Approved:
    """The file of --request, checked. Raises UsageError, RecordError, RequestRefused."""
    path: Path = options.request
    for name, option in SAID_BY_REQUEST.items():
        if getattr(options, name) is not None:
            raise UsageError(f"{option} is what {path} says: leave it out, or leave out --request")
    pinned = load_public(options.console) if options.console is not None else None
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    try:
        request, signer = read_request(data)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from None
    if pinned not in (None, signer):
        raise RequestRefused(
            f"{path} is signed by {fingerprint(signer)}, and not by {options.console}: it is not "
            "that console's request"
        )
    now = time.time()
    if not request.is_valid_at(now):
        raise RequestRefused(
            f"{request.id} expired at {request.expires_utc}, and it is {utc_text(int(now * 1000))} "
            "by this machine's clock: ask for it again"
        )
    return Approved(request, signer, pinned is not None, hashlib.sha256(data).hexdigest())
