"""What is asked of `bauta recover`: checked, read, logged; and the secrets that its keys give."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .errors import KeyRefused, NothingOpened, RecordError, UsageError
from .recover.clip_records import ClipRecords, Epoch, read_clip
from .recover.evidence import Opening, is_in_time
from .recover.log import log_recovery
from .recover.manifest import KeyNote, PackageNote, manifest_path, report_path
from .recover.signed import check_one_session, is_record_signed, signed_epochs, tracks_in
from .recover.video import Wanted
from .recover.wording import clock, counted
from .recover_approved import Approved, read_approved
from .recover_options import (
    check_dest,
    checked_case,
    origin_entry,
    pinned_service,
    read_identity,
    span_of,
)
from .vault.audit_line import Head
from .vault.effort import Effort
from .vault.identity import Identity
from .vault.opening import open_epoch
from .vault.package import MOST_BYTES, Package, open_package
from .vault.signing import fingerprint, officer_key

NOTHING = (
    "nothing opened: these keys do not fit the clip, or its records are missing or not as they "
    "were sealed, or nothing that was asked for is in it (bauta tracks CLIP); nothing was written"
)
"""For every cause: which check failed would help whoever tries."""


@dataclass(frozen=True, slots=True)
class Given:
    """A disclosure or release that one of the keys opens."""

    package: Package = field(repr=False)
    sha256: str
    by: str  # the public half of that key


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, checked and read."""

    clip: ClipRecords
    dest: Path
    case: str
    reason: str
    wanted: Wanted
    identities: tuple[Identity, ...] = field(repr=False)
    given: tuple[Given, ...]
    by_packages_alone: bool  # the keys open packages, and nothing of the clip
    pinned: bytes | None  # the service's public key
    lossless: bool
    is_marked: bool
    drop_audio: bool
    stills: Path | None
    approved: Approved | None  # it says what may be opened

    @property
    def to_seconds(self) -> float | None:
        """None: to the end."""
        return None if math.isinf(self.wanted.to_seconds) else self.wanted.to_seconds

    @property
    def keys(self) -> tuple[KeyNote, ...]:
        """Those that were given."""
        return tuple(
            KeyNote(
                identity.recipient.public, fingerprint(officer_key(identity).public), used=False
            )
            for identity in self.identities
        )

    @property
    def packages(self) -> tuple[PackageNote, ...]:
        """Those that one of the keys opens."""
        return tuple(_noted(given, self.clip) for given in self.given)


def checked_request(options: argparse.Namespace) -> Request:
    """Raises UsageError, KeyRefused, SourceError, NothingOpened, RecordError, RequestRefused."""
    approved = read_approved(options) if options.request is not None else None
    if approved is not None:
        case, reason = approved.request.case, approved.request.reason
    else:
        case, reason = checked_case(options)
    check_dest(options, (manifest_path(options.dest), report_path(options.dest)))
    from_seconds, to_seconds = span_of(options)
    pinned = pinned_service(options)
    files = [options.disclosure] if options.disclosure else (options.release or [])
    sealed = [_read(path) for path in files]
    if approved is not None:
        sealed += approved.request.releases
    identities = tuple(read_identity(path) for path in dict.fromkeys(options.key))
    given = tuple(found for data in sealed if (found := _opened(data, identities)) is not None)
    request = Request(
        clip=_read_clip(options.clip, options.sidecar),
        dest=options.dest,
        case=case,
        reason=reason,
        wanted=(
            Wanted(tracks=approved.request.tracks, selection=approved.request.selection)
            if approved is not None
            else Wanted(
                tracks=_tracks(options.track, given),
                from_seconds=from_seconds,
                to_seconds=to_seconds,
            )
        ),
        identities=identities,
        given=given,
        # a package that stays closed says not whom it is about: the keys may not open more instead
        by_packages_alone=bool(
            options.disclosure
            or (len(given) < len(sealed) and not options.track and approved is None)
        ),
        pinned=pinned,
        lossless=options.lossless,
        is_marked=not options.no_mark,
        drop_audio=options.drop_audio,
        stills=options.stills,
        approved=approved,
    )
    _check_asked(request)
    _check_sessions(request)
    return request


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _opened(data: bytes, identities: Sequence[Identity]) -> Given | None:
    """None where it opens with none of the keys: then it gives nothing."""
    for identity in identities:
        with suppress(KeyRefused, RecordError):
            package = open_package(data, identity)
            return Given(package, hashlib.sha256(data).hexdigest(), identity.recipient.public)
    return None


def _tracks(asked: Sequence[int] | None, given: Sequence[Given]) -> frozenset[int]:
    """Those asked for, else those that all the packages are about; empty: everybody.

    Raises UsageError where the packages have nobody in common: that is not everybody.
    """
    if asked:
        return frozenset(asked)
    about = [frozenset(g.package.tracks) for g in given if g.package.tracks is not None]
    if not about:
        return frozenset()
    if common := frozenset.intersection(*about):
        return common
    raise UsageError("the packages are about different tracks, or about none: give --track ID")


def _check_asked(request: Request) -> None:
    """What anybody can see of a clip, and only where its records are as they were.

    Else what is said would tell which check had failed. Raises UsageError.
    """
    clip, tracks = request.clip, request.wanted.tracks
    if request.wanted.from_seconds > clip.length_seconds:
        raise UsageError(
            f"--from {clock(request.wanted.from_seconds)} is after the end of {clip.clip}, which "
            f"is {clock(clip.length_seconds)} long"
        )
    if request.approved is not None and not clip.is_without_records:
        request.approved.check_clip(clip)
        return
    if clip.problems:
        return
    if clip.is_without_records:
        raise UsageError(
            f"{clip.clip} holds no records of bauta/1: it was protected without evidence, or a "
            "recorder took them out (then give its --sidecar)"
        )
    here = {
        entry.place.track
        for epoch in clip.epochs
        for group in epoch.groups
        for entry in group.entries
    }
    if missing := sorted(tracks - here):
        raise UsageError(
            f"not in {clip.clip}: {counted(len(missing), 'track')} asked for "
            f"({', '.join(map(str, missing))}); see who is with: bauta tracks"
        )


def _check_sessions(request: Request) -> None:
    """Raises UsageError where a track that is asked for is several people."""
    tracks = request.wanted.tracks
    if not tracks or request.approved is not None:  # its selection tells them apart
        return
    chosen = [
        each
        for each in signed_epochs(request.clip, request.pinned)
        if _is_asked_for(request, each.epoch)
    ]
    present = [(each, tracks_in(each.signed_groups())) for each in chosen]
    check_one_session(request.clip, present, tracks)


def _is_asked_for(request: Request, epoch: Epoch) -> bool:
    """In the time, and in a package where nothing else opens."""
    seconds = request.clip.seconds[epoch.start : epoch.end]
    if not any(is_in_time(each, request.wanted) for each in seconds):
        return False
    record = epoch.record
    return not request.by_packages_alone or any(
        given.package.has_epoch(record.epoch_id, record.context) for given in request.given
    )


def _read_clip(clip: Path, sidecar: Path | None) -> ClipRecords:
    if sidecar is not None:
        try:
            sidecar.open("rb").close()
        except OSError as error:
            raise UsageError(f"{sidecar}: {error.strerror}") from None
    try:
        return read_clip(clip, sidecar)
    except (RecordError, UsageError) as error:  # of a sidecar that is none, or another clip's
        raise NothingOpened(NOTHING) from error


def _noted(given: Given, clip: ClipRecords) -> PackageNote:
    package = given.package
    return PackageNote(
        what=package.what,
        sha256=given.sha256,
        case=package.case,
        reason=package.reason,
        made_utc=package.made_utc,
        maker_signing=fingerprint(package.maker_public),
        is_for_these_bytes=package.clip_sha256 == clip.clip_sha256,
        tracks=package.tracks,
    )


# --- keys ---


def write_log(request: Request) -> Head:
    """Before any secret of the clip is tried. Raises VaultError: then nothing may be."""
    return log_recovery(
        "recover",
        clip=request.clip.clip,
        sidecar=request.clip.sidecar,
        signer=officer_key(request.identities[0]),
        case=request.case,
        reason=request.reason,
        tracks=sorted(request.wanted.tracks) or "all",
        from_seconds=request.wanted.from_seconds,
        to_seconds=request.to_seconds,
        keys=[key.age for key in request.keys],
        packages=[
            {"what": note.what, "sha256": note.sha256, "maker": note.maker_signing}
            for note in request.packages
        ],
        marked=request.is_marked,
        **({} if request.approved is None else {"request": request.approved.entry()}),
        **origin_entry(request.pinned),
    )


def openings_of(request: Request) -> list[Opening]:
    """Of the epochs in the time that is wanted; of no other a secret is touched."""
    seconds = request.clip.seconds
    openings = []
    effort = Effort()  # for the whole clip: hostile records are many
    for epoch in request.clip.epochs:
        if not request.wanted.epoch(epoch.record.epoch_id):
            continue
        if not any(is_in_time(each, request.wanted) for each in seconds[epoch.start : epoch.end]):
            continue
        is_signed = is_record_signed(epoch.record, request.pinned)
        keys = open_epoch(
            epoch.record,
            identities=request.identities if is_signed and not request.by_packages_alone else (),
            packages=[given.package for given in request.given] if is_signed else (),
            effort=effort,
        )
        openings.append(Opening(epoch, keys, is_signed))
    return openings
