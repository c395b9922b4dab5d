"""Test vectors as they are read, and what the product makes of a case (tests/vectors/README.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.errors import KeyRefused, NothingOpened, RecordError
from pipeline.evidence.body import parse_motions, parse_tiles
from pipeline.evidence.group_record import Entry, EntryKind, GroupRecord, parse_group_record
from pipeline.evidence.key_record import parse_key_record
from pipeline.evidence.nal import ANNEX_B, slice_digest, split_nals
from pipeline.evidence.sidecar_file import read_records
from pipeline.recover.clip_records import ClipFrame, ClipRecords
from pipeline.recover.epoch_match import CarriedGroup, CarriedKey, Problems, place_in_stream
from pipeline.recover.evidence import Opening
from pipeline.recover.origin import Origin, check_origin
from pipeline.recover.signed import is_group_signed, is_record_signed
from pipeline.vault.epoch_keys import open_entry
from pipeline.vault.identity import wrap_for
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import Package, open_package

from .independent_wire import age_open
from .vector_seeds import Fields, changed, load, person, signer, unb64

GOOD = ("one_group", "two_groups", "threshold")
Row = tuple[int, int, int, int]
"""first, kind, track, presence of an entry that opens"""


@cache
def base(name: str) -> Fields:
    """An epoch: a good one, or one that was altered."""
    found: Fields = load(name) if name in GOOD else load("altered_epochs")[name]
    return found


def key_of(epoch: Fields) -> bytes:
    return unb64(epoch["key_record"]["record_base64"])


def groups_of(epoch: Fields) -> list[bytes]:
    return [unb64(group["record_base64"]) for group in epoch["group_records"]]


def digests_of(epoch: Fields) -> list[bytes]:
    frames = [bytes.fromhex(frame) for frame in epoch["frames"]]
    return [slice_digest(split_nals(frame, ANNEX_B), "h264") for frame in frames]


def package_file(name: str) -> tuple[Fields, bytes]:
    known = load("packages")
    fields: Fields = {**known["good"], **known["fitting_nothing"]}[name]
    return fields, unb64(fields["file_base64"])


@dataclass(frozen=True)
class Case:
    """An `open` or `verify`, its edits done."""

    key: bytes
    groups: tuple[tuple[int, bytes], ...]  # with the packet that carries it
    digests: tuple[bytes, ...]  # of the clip's frames
    identities: tuple[str, ...]  # secrets
    packages: tuple[tuple[bytes, str], ...]  # with its receiver's secret
    pinned: bytes | None


def prepared(case: Fields, *, signs_again: bool = True) -> Case:
    epoch = base(case["base"])
    key = changed(key_of(epoch), case.get("key", ()))
    groups = [(at, changed(_group(epoch, of), edits)) for at, of, edits in _carried(case, epoch)]
    if case.get("sign_again") and signs_again:
        service = signer("service")
        key = key[:-64] + service.sign(b"bauta/1 key" + key[:-64])
        context = hashlib.sha256(key[:-64]).digest()
        groups = [
            (at, data[:-64] + service.sign(b"bauta/1 group" + context + data[:-64]))
            for at, data in groups
        ]
    known = digests_of(epoch)
    frames = case.get("frames", range(len(known)))
    people = case.get("identities", epoch.get("opens_with", [["dpo"]])[0])
    pinned = case.get("pinned", "service")
    return Case(
        key=key,
        groups=tuple(groups),
        digests=tuple(known[at] if at >= 0 else bytes(16) for at in frames),
        identities=tuple(person(name).secret for name in people),
        packages=tuple(
            (package_file(name)[1], person(receiver).secret)
            for name, receiver in case.get("packages", ())
        ),
        pinned=signer(pinned).public if pinned else None,
    )


def _carried(case: Fields, epoch: Fields) -> Sequence[Sequence[Any]]:
    """Packet, which group, edits."""
    if "groups" in case:
        groups: Sequence[Sequence[Any]] = case["groups"]
        return groups
    ends, end = [], 0
    for data in groups_of(epoch):
        end += len(parse_group_record(data).head.digests)
        ends.append(end - 1)
    return [[at, index, []] for index, at in enumerate(ends)]


def _group(epoch: Fields, of: int | str) -> bytes:
    """By its number, or `EPOCH NUMBER` of another epoch."""
    name, _, index = str(of).rpartition(" ")
    return groups_of(base(name) if name else epoch)[int(index)]


# --- what the product does ---


def clip_of(case: Case) -> ClipRecords:
    """As if read from a file."""
    problems = Problems()
    keys, groups = [], []
    try:
        keys.append(CarriedKey(0, parse_key_record(case.key)))
    except RecordError:
        problems.add(Problems.DAMAGED)
    for at, data in case.groups:
        try:
            groups.append(CarriedGroup(at, parse_group_record(data)))
        except RecordError:
            problems.add(Problems.DAMAGED)
    epochs = place_in_stream(case.digests, keys, groups, problems)
    return ClipRecords(
        frames=tuple(ClipFrame(at, at / 25, digest) for at, digest in enumerate(case.digests)),
        epochs=epochs,
        problems=problems.lines,
        clip_sha256="",
        codec="h264",
        size_px=(96, 64),
        fps=Fraction(25),
    )


def verified(case: Case) -> Origin:
    return check_origin(clip_of(case), case.pinned)


def opened(case: Case) -> list[Row]:
    """Every entry that opens, with the bits of those frames that are as recorded."""
    people = {name: person(name) for name in load("identities")["people"]}
    by_secret = {identity.secret: identity for identity in people.values()}
    packages = [open_package(data, by_secret[secret]) for data, secret in case.packages]
    found = []
    for epoch in clip_of(case).epochs:
        identities = [by_secret[secret] for secret in case.identities]
        keys = open_epoch(epoch.record, identities=identities, packages=packages)
        opening = Opening(epoch, keys, is_record_signed(epoch.record, case.pinned))
        for group in epoch.groups:
            there = sum(
                1 << at
                for at in range(len(group.head.digests))
                if group.head.first + at in epoch.positions
            )
            if not (opening.is_signed and is_group_signed(epoch.record, group)):
                continue
            for entry in group.entries:
                presence = entry.place.presence & there
                if presence and _opens(opening, group, entry):
                    place = entry.place
                    found.append((group.head.first, int(place.kind), place.track, presence))
    return found


def _opens(opening: Opening, group: GroupRecord, entry: Entry) -> bool:
    key = opening.keys.key_for(entry.place.kind, entry.place.track)
    if key is None:
        return False
    try:
        plain = open_entry(key, opening.epoch.record.context, group.head, entry)
        is_motion = entry.place.kind is EntryKind.MOTION
        contents = parse_motions(plain) if is_motion else parse_tiles(plain)
    except (NothingOpened, RecordError):
        return False
    return len(contents) == len(entry.place.offsets)


def _read_sidecar(data: bytes) -> object:
    with TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4.bauta")
        path.write_bytes(data)
        return read_records(path)


READERS: dict[str, Callable[[bytes], object]] = {
    "key": parse_key_record,
    "group": parse_group_record,
    "face": parse_tiles,
    "motion": parse_motions,
    "sidecar": _read_sidecar,
}


def bytes_of(case: Fields) -> bytes:
    """What a `read` is about."""
    if "bytes" in case:
        return bytes.fromhex(case["bytes"]) + bytes(case.get("zeros", 0))
    epoch = base(case["base"])
    of, _, index = case["part"].partition(" ")
    data = key_of(epoch) if of == "key" else groups_of(epoch)[int(index)]
    return changed(data, case["edits"])


def file_of(case: Fields) -> bytes:
    """The age file that a `read package` is about."""
    fields, file = package_file(case["package"])
    if "inside" in case:
        receiver = person(fields["receiver"])
        inside = changed(age_open(file, receiver.secret), case["inside"])
        return wrap_for(inside, [receiver.recipient])
    return changed(file, case.get("edits", ()))


def read_package(case: Fields) -> Package | str:
    """The outcome by its name in the vectors, where there is no package."""
    try:
        return open_package(file_of(case), person(case["person"]))
    except KeyRefused:
        return "key refused"
    except RecordError:
        return "refused"
