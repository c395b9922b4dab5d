"""`bauta disclose`: one person of a clip for a third party; `bauta keys release` works alike."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import KeyRefused, NothingOpened, UsageError, VaultError
from .recover.clip_records import ClipRecords, read_clip
from .recover.log import log_recovery
from .recover.signed import SignedEpoch, check_one_session, signed_epochs, tracks_in
from .recover.wording import counted
from .recover_options import (
    checked_case,
    origin_entry,
    pinned_service,
    read_identity,
    warn_unverified,
)
from .terminal import say, warn
from .vault.effort import Effort
from .vault.identity import Identity, Recipient, load_recipient
from .vault.opening import EpochKeys, open_epoch
from .vault.package import MOST_BYTES, Package, Purpose, make_disclosure, open_package
from .vault.signing import fingerprint, officer_key


@dataclass(frozen=True, slots=True)
class Handover:
    """What was asked for, checked, and what the clip has of it."""

    clip: ClipRecords
    dest: Path
    overwrite: bool
    case: str
    reason: str
    receiver: Recipient
    identities: tuple[Identity, ...] = field(repr=False)
    tracks: frozenset[int] | None  # None: all
    from_seconds: float
    to_seconds: float
    pinned: bytes | None  # the service's public key
    left_out: int  # epochs in the time that the service did not sign
    keys: tuple[EpochKeys, ...] = field(repr=False)  # of the epochs that hold it
    present: Mapping[bytes, frozenset[int]] = field(repr=False)  # epoch id to its tracks

    def purpose(self, opened: Sequence[EpochKeys], groups: Sequence[str]) -> Purpose:
        """Signed by the first of those whose keys had a part in it."""
        return Purpose(
            maker=self.opened_by(opened, groups)[0],
            receiver=self.receiver,
            case=self.case,
            reason=self.reason,
            clip_sha256=self.clip.clip_sha256,
        )

    def opened_by(self, opened: Sequence[EpochKeys], groups: Sequence[str]) -> Sequence[Identity]:
        """Whose keys had a part in these groups; where all comes from releases, the first given."""
        used = {key for keys in opened for name in groups for key in keys.openers.get(name, ())}
        found = [one for one in self.identities if one.recipient.public in used]
        return found or self.identities[:1]


def disclose(options: argparse.Namespace) -> int:
    """Write PACKAGE. Raises BautaError."""
    track: int = options.track
    asked = prepare(options, frozenset((track,)), read_releases(options.release or ()))
    opened = [keys for keys in asked.keys if keys.opens_track(track)]
    if not opened:
        raise nothing_opened(asked)
    groups = sorted({name for keys in opened for name in keys.names})
    package = make_disclosure(opened, track, asked.purpose(opened, groups))
    hand_over(asked, package, opened, action="disclose", groups=groups)
    tell(asked, opened, f"track {track}")
    return 0


# --- what a disclosure and a release have in common ---


def read_releases(paths: Sequence[Path]) -> list[bytes]:
    """As they are, still closed. Raises UsageError."""
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found.append(file.read(MOST_BYTES + 1))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
    return found


def prepare(
    options: argparse.Namespace, tracks: frozenset[int] | None, releases: Sequence[bytes] = ()
) -> Handover:
    """Read the clip, the keys and the releases, and try them on the epochs that were asked for.

    Raises UsageError, KeyRefused, VaultError, SourceError.
    """
    case, reason = checked_case(options)
    _check_dest(options)
    if options.from_seconds > options.to_seconds:
        raise UsageError("--from must not be later than --to")
    receiver = load_recipient(options.receiver)
    pinned = pinned_service(options)
    clip = read_clip(options.clip, options.sidecar)
    in_time = _in_time(clip, options.from_seconds, options.to_seconds)
    signed = [each for each in signed_epochs(clip, pinned) if each.epoch.start in in_time]
    present = _present(signed, tracks)
    if not present:
        raise UsageError(
            f"{options.clip}: nothing is sealed there of what was asked for, or not as the service "
            "signs it (bauta verify CLIP)"
        )
    check_one_session(clip, present, tracks or ())
    identities = tuple(read_identity(path) for path in options.key)
    packages = [_opened_release(data, identities) for data in releases]
    effort = Effort()  # for the whole clip: hostile records are many
    return Handover(
        clip=clip,
        dest=options.dest,
        overwrite=options.overwrite,
        case=case,
        reason=reason,
        receiver=receiver,
        identities=identities,
        tracks=tracks,
        from_seconds=options.from_seconds,
        to_seconds=options.to_seconds,
        pinned=pinned,
        left_out=len(in_time) - len(signed),
        keys=tuple(
            open_epoch(each.epoch.record, identities=identities, packages=packages, effort=effort)
            for each, _ in present
        ),
        present={each.epoch.record.epoch_id: there for each, there in present},
    )


def nothing_opened(asked: Handover) -> NothingOpened:
    """One message for all causes; the groups' names are public."""
    names = sorted({name for keys in asked.keys for name in keys.names})
    return NothingOpened(
        "nothing opened: keys and clip do not fit, or somebody is missing "
        f"(groups: {', '.join(names)})"
    )


def hand_over(
    asked: Handover,
    package: bytes,
    opened: Sequence[EpochKeys],
    *,
    action: str,
    groups: Sequence[str],
) -> None:
    """The log first, then the package: without an entry nothing is written. Raises VaultError."""
    officers = asked.opened_by(opened, groups)
    signers = [officer_key(one) for one in officers]
    log_recovery(
        action,
        clip=asked.clip.clip,
        sidecar=asked.clip.sidecar,
        signer=signers[0],
        case=asked.case,
        reason=asked.reason,
        tracks="all" if asked.tracks is None else sorted(asked.tracks),
        from_seconds=asked.from_seconds,
        to_seconds=None if math.isinf(asked.to_seconds) else asked.to_seconds,
        epochs=len(opened),
        groups=list(groups),
        receiver=asked.receiver.public,
        opened_by=[fingerprint(key.public) for key in signers],
        releases_by=_makers(opened),
        package_sha256=hashlib.sha256(package).hexdigest(),
        **origin_entry(asked.pinned),
    )
    _write(asked.dest, package, overwrite=asked.overwrite)


def _in_time(clip: ClipRecords, from_seconds: float, to_seconds: float) -> frozenset[int]:
    """The first frames of the epochs that overlap the time: whole epochs are handed over."""
    seconds = (*clip.seconds, math.inf)
    return frozenset(
        epoch.start
        for epoch in clip.epochs
        if seconds[epoch.start] <= to_seconds and from_seconds < seconds[epoch.end]
    )


def _present(
    signed: Sequence[SignedEpoch], tracks: frozenset[int] | None
) -> list[tuple[SignedEpoch, frozenset[int]]]:
    """Those that hold something of the tracks, with all tracks in them; by signed groups alone."""
    found = []
    for each in signed:
        groups = each.signed_groups()
        there = tracks_in(groups)
        if tracks is None:
            is_wanted = any(group.entries for group in groups)
        else:
            is_wanted = not there.isdisjoint(tracks)
        if is_wanted:
            found.append((each, there))
    return found


def _opened_release(data: bytes, identities: Sequence[Identity]) -> Package:
    for identity in identities:
        with contextlib.suppress(KeyRefused):
            package = open_package(data, identity)
            if package.what != "release":
                raise UsageError("--release is a disclosure: only a release can be handed on")
            return package
    raise KeyRefused("a release is for none of the keys that were given")


def _makers(opened: Sequence[EpochKeys]) -> list[str]:
    """Fingerprints of those whose releases had a part in it."""
    return sorted(
        {
            fingerprint(package.maker_public)
            for keys in opened
            for package in keys.packages
            if keys.record.epoch_id in package.epochs
        }
    )


def _check_dest(options: argparse.Namespace) -> None:
    dest: Path = options.dest
    if not options.clip.is_file():
        raise UsageError(f"{options.clip}: no such file")
    if not dest.parent.is_dir():
        raise UsageError(f"{dest.parent}: no such folder")
    if not dest.exists():
        return
    read = [options.clip, options.receiver, options.sidecar, *options.key]
    read += getattr(options, "release", None) or ()
    if any(path.exists() and dest.samefile(path) for path in read if path is not None):
        raise UsageError(f"{dest} is what is read; choose another name for what is written")
    if not options.overwrite:
        raise UsageError(f"{dest} exists; add --overwrite to replace it")


def _write(path: Path, data: bytes, *, overwrite: bool) -> None:
    """0600 from the first byte on, whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    place = beside if overwrite else path
    try:
        if overwrite:
            beside.unlink(missing_ok=True)
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            if overwrite:
                beside.replace(path)
        except BaseException:
            place.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise VaultError(f"{path}: {error.strerror}") from None


def tell(asked: Handover, opened: Sequence[EpochKeys], what: str) -> None:
    """For the person who hands it over: what it is, and what is doubtful about the clip."""
    say(
        f"{asked.dest}: {what} in {len(opened)} of {len(asked.keys)} keyframe intervals, for "
        f"{asked.receiver.public} alone"
    )
    if asked.pinned is None:
        warn_unverified()
    if asked.left_out:
        intervals = counted(asked.left_out, "keyframe interval")
        warn(f"left out: {intervals} whose key record the service did not sign")
