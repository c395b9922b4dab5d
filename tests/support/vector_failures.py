"""Cases in which less opens than is there, or nothing, or a clip is not what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.evidence.body import TileItem, padded
from pipeline.evidence.group_record import EntryKind
from pipeline.evidence.key_record import KeyGroup

from .vector_broken import broken, group_fields, key_fields
from .vector_epochs import (
    Made,
    Plan,
    Readers,
    Sealed,
    key_group,
    made,
    opens,
    shares_of,
)
from .vector_packages import broken_packages
from .vector_seeds import Change, Fields, b64, changes, seeded, signer

NOTHING: list[list[int]] = []
DPO = Readers("dpo", 1, ("dpo",))
JUDGES = Readers("judges", 2, ("judge_a", "judge_b", "judge_c"))
TWO_JUDGES = Readers("judges", 2, ("judge_a", "judge_b"))


def failures(epochs: Mapping[str, Made], altered: Fields) -> Fields:
    """All cases, each with a name of its own."""
    cases = [
        *_of_keys(),
        *_of_altered_epochs(altered),
        *_of_signatures(epochs["one_group"]),
        *_of_frames(epochs["one_group"]),
        *_of_moved_entries(epochs),
        *_of_packages(epochs),
        *_flips_of_key(epochs["threshold"]),
        *_flips_of_group(epochs["one_group"]),
        *broken(epochs),
    ]
    assert len({case["name"] for case in cases}) == len(cases)
    return {"about": "README.md says how a case is read", "cases": cases}


def _open(name: str, base: str, expect: Sequence[Sequence[int]], **more: Any) -> Fields:
    return {"name": name, "do": "open", "base": base, **more, "expect": expect}


def _again(name: str, base: str, expect: Sequence[Sequence[int]], **more: Any) -> Fields:
    """After the edits all is signed again, as who has the service's key could.

    Without that `verify` does not come out whole: no case of its own for it.
    """
    return {**_open(f"{name}, signed again", base, expect, **more), "sign_again": True}


def _verify(name: str, base: str, expect: Mapping[str, bool], **more: Any) -> Fields:
    return {"name": name, "do": "verify", "base": base, **more, "expect": expect}


# --- whole epochs that only who seals could make so ---


def altered_epochs() -> Fields:
    """Signed and sealed as ever; what is wrong is within."""
    right = shares_of(_small("one_bad_share", JUDGES), JUDGES)
    bad_b = [right[0], bytes((right[1][0],)) + bytes(16), right[2]]
    found: dict[str, tuple[Readers, dict[str, Any]]] = {
        "one_bad_share": (JUDGES, {"shares": bad_b}),
        "same_share_twice": (JUDGES, {"shares": "twice"}),
        "share_with_index_0": (TWO_JUDGES, {"shares": "zero"}),
        "commitment_altered": (DPO, {"commitment": seeded("no commitment", 32)}),
        "sealed_secret_altered": (TWO_JUDGES, {"sealed_secret": seeded("no seal", 48)}),
        "secret_of_another_epoch": (DPO, {"age_files": "other"}),
    }
    made_of: dict[str, Made] = {}
    for name, (readers, what) in found.items():
        plan = _small(name, readers)
        made_of[name] = made(plan, [_spoiled(plan, readers, what)])
    made_of["foreign_service"] = made(replace(_small("foreign_service", DPO), service="foreign"))
    plan = _small("padding_not_zero", DPO)
    entry = plan.groups[0][1][0]
    spoiled = replace(entry, plain=entry.padded[:-1] + b"\1")
    made_of["padding_not_zero"] = made(replace(plan, groups=((1, (spoiled,)),)))
    plan = _small("fewer_items_than_frames", DPO)
    made_of["fewer_items_than_frames"] = made(
        replace(plan, groups=((2, (replace(entry, offsets=(0, 1)),)),))
    )
    plan = _small("not_padded_to_a_size", DPO)
    longer = replace(entry, plain=padded(entry.padded + b"\0")[: len(entry.padded) + 5])
    made_of["not_padded_to_a_size"] = made(replace(plan, groups=((1, (longer,)),)))
    return {name: _fields(epoch) for name, epoch in made_of.items()}


def _small(name: str, readers: Readers) -> Plan:
    """One frame, one face."""
    face = Sealed(
        EntryKind.FACE, 3, (0,), (TileItem(True, (10, 10, 16, 16), seeded("packet", 40)),)
    )
    return Plan(name=name, about="", readers=(readers,), groups=((1, (face,)),), opens_with=((),))


def _spoiled(plan: Plan, readers: Readers, what: Mapping[str, Any]) -> KeyGroup:
    shares = what.get("shares")
    right = shares_of(plan, readers) if readers.threshold > 1 else []
    if shares == "twice":
        return key_group(plan, readers, [right[0], right[0], right[2]])
    if shares == "zero":
        return key_group(plan, readers, [right[0], b"\0" + plan.shared(readers.name)])
    if shares is not None:
        return key_group(plan, readers, shares)
    group = key_group(plan, readers)
    if "age_files" in what:
        other = key_group(replace(plan, name=f"{plan.name}, another"), readers)
        return replace(group, age_files=other.age_files)
    return replace(group, **what)


def _fields(epoch: Made) -> Fields:
    return {
        "frames": [frame.hex() for frame in epoch.frames],
        "key_record": {"record_base64": b64(epoch.record.encode())},
        "group_records": [{"record_base64": b64(group.encode())} for group in epoch.groups],
    }


# --- cases ---


def _of_keys() -> Iterator[Fields]:
    for base, name, people in (
        ("one_group", "no key", ()),
        ("one_group", "a wrong key", ("stranger",)),
        ("one_group", "keys of others", ("police", "judge_a", "lawyer")),
        ("two_groups", "one group's key is missing, the second's", ("dpo",)),
        ("two_groups", "one group's key is missing, the first's", ("police", "deputy")),
        ("threshold", "too few shares", ("judge_a", "dpo")),
        ("threshold", "the same share twice", ("judge_a", "judge_a", "dpo")),
        ("threshold", "enough shares, the other group missing", ("judge_a", "judge_c")),
        ("threshold", "no share", ("dpo",)),
    ):
        yield _open(name, base, NOTHING, identities=people)


def _of_altered_epochs(altered: Fields) -> Iterator[Fields]:
    whole = [[0, 2, 3, 1]]
    a, b, c = JUDGES.people
    for name, people, expect in (
        ("one_bad_share", (a, b), NOTHING),
        ("one_bad_share", (b, c), NOTHING),
        ("one_bad_share", (a, c), whole),
        ("one_bad_share", (b, a, c), whole),
        ("same_share_twice", (a, b), NOTHING),
        ("same_share_twice", (a, b, c), whole),
        ("share_with_index_0", (a, b), NOTHING),
        ("share_with_index_0", (b,), NOTHING),
        ("share_with_index_0", (b, a), NOTHING),
        ("commitment_altered", ("dpo",), NOTHING),
        ("sealed_secret_altered", (a, b), NOTHING),
        ("secret_of_another_epoch", ("dpo",), NOTHING),
        ("padding_not_zero", ("dpo",), NOTHING),
        ("fewer_items_than_frames", ("dpo",), NOTHING),
        ("not_padded_to_a_size", ("dpo",), whole),
        ("foreign_service", ("dpo",), NOTHING),
    ):
        assert name in altered
        said = f"{name}: {', '.join(people)}".replace("_", " ")
        yield _open(said, name, expect, identities=people)
    yield _open(
        "foreign service, nobody pinned", "foreign_service", whole, identities=("dpo",), pinned=None
    )
    for pinned in ("service", None):
        said = f"foreign service, verified, pinned: {pinned}"
        yield _verify(said, "foreign_service", {"verified": False}, pinned=pinned)
    yield _verify(
        "foreign service, itself pinned", "foreign_service", {"verified": True}, pinned="foreign"
    )


def _of_signatures(epoch: Made) -> Iterator[Fields]:
    key, groups = epoch.record.encode(), [group.encode() for group in epoch.groups]
    first = opens(epoch.groups[:1])
    everything = opens(epoch.groups)
    foreign = signer("foreign")
    unsigned = [changes(data, data[:-64] + bytes(64)) for data in (key, *groups)]
    forged = changes(key, key[:-64] + foreign.sign(epoch.record.to_sign))
    forged_group = changes(
        groups[1],
        groups[1][:-64] + foreign.sign(epoch.groups[1].to_sign(epoch.record.context)),
    )
    as_they_are = [[7, 0, []], [10, 1, []]]
    for name, edits, group_edits, expect in (
        ("key record unsigned", unsigned[0], [], NOTHING),
        ("key record signed by another than it names", forged, [], NOTHING),
        ("group record unsigned", [], unsigned[2], first),
        ("group record signed by another", [], forged_group, first),
    ):
        carried = [as_they_are[0], [10, 1, group_edits]]
        more: Fields = {"key": edits, "groups": carried}
        yield _open(f"{name}, opened", "one_group", expect, **more)
        yield _verify(f"{name}, verified", "one_group", {"verified": False}, **more)
    yield _open("another service is pinned", "one_group", NOTHING, pinned="foreign")
    yield _open("nobody is pinned", "one_group", everything, pinned=None)
    yield _verify(
        "another service is pinned, verified", "one_group", {"verified": False}, pinned="foreign"
    )
    yield _verify(
        "nobody is pinned, verified",
        "one_group",
        {"verified": False, "complete": True, "unaltered": True},
        pinned=None,
    )
    whole = {"verified": True, "complete": True, "unaltered": True}
    yield _verify("nothing is wrong", "one_group", whole)


def _of_frames(epoch: Made) -> Iterator[Fields]:
    """-1: a picture of which no record speaks."""
    every = list(range(11))
    everything = opens(epoch.groups)
    first, last = opens(epoch.groups[:1]), opens(epoch.groups[1:])
    other = [0, 1, 2, -1, *every[4:]]
    without = [*([*row[:3], row[3] & ~0b1000] for row in first), *last]
    yield _open("a frame's slices are others", "one_group", without, frames=other)
    said = {"verified": True, "complete": True, "unaltered": False}
    yield _verify("a frame's slices are others, verified", "one_group", said, frames=other)
    put_in = [*every[:9], -1, *every[9:]]
    groups = [[7, 0, []], [11, 1, []]]
    said = {"verified": True, "unaltered": False}
    yield _verify("a frame is put in", "one_group", said, frames=put_in, groups=groups)
    taken = [*every[:4], *every[5:]]
    groups = [[6, 0, []], [9, 1, []]]
    said = {"verified": True, "complete": False, "unaltered": True}
    yield _verify("a frame is taken out", "one_group", said, frames=taken, groups=groups)
    for name, groups, expect in (
        ("the first group is taken out", [[10, 1, []]], last),
        ("the last group is taken out", [[7, 0, []]], first),
        ("a group is replayed instead of the next", [[7, 0, []], [10, 0, []]], first),
    ):
        yield _open(name, "one_group", expect, groups=groups)
        if name != "the last group is taken out":  # a live session may end so
            yield _verify(f"{name}, verified", "one_group", {"complete": False}, groups=groups)
    again = [*every, *every[:8]]
    groups = [[7, 0, []], [10, 1, []], [18, 0, []]]
    name = "a group and its frames are replayed"
    yield _open(name, "one_group", everything, frames=again, groups=groups)
    yield _verify(f"{name}, verified", "one_group", {"whole": False}, frames=again, groups=groups)
    later = replace(epoch.groups[0], head=replace(epoch.groups[0].head, first=11))
    groups[2] = [18, 0, changes(epoch.groups[0].encode(), later.encode())]
    name = "a group and its frames are replayed, counted on"
    yield _again(name, "one_group", everything, frames=again, groups=groups)


def _of_moved_entries(epochs: Mapping[str, Made]) -> Iterator[Fields]:
    """All of them signed again: the entries' tags alone stand against it."""
    one, two = epochs["one_group"], epochs["two_groups"]
    group = one.groups[0]
    face, passer, scene = group.entries
    swapped = [replace(face, sealed=passer.sealed), replace(passer, sealed=face.sealed)]
    as_face = replace(scene, place=replace(scene.place, kind=EntryKind.FACE, track=6))
    rows = opens([group])
    for name, entries, expect in (
        ("an entry of another group", [one.groups[1].entries[0], passer, scene], rows[1:]),
        ("swapped entries", [*swapped, scene], rows[2:]),
        ("a scene entry named a face", [face, as_face, passer], rows[:2]),
        ("an entry taken out", [face, scene], [rows[0], rows[2]]),
    ):
        edits = changes(group.encode(), replace(group, entries=tuple(entries)).encode())
        yield _again(name, "one_group", expect, groups=[[7, 0, edits]])
    yield _open("a group of another epoch", "one_group", NOTHING, groups=[[7, "two_groups 0", []]])
    renamed = replace(two.groups[0], head=group.head)
    edits = changes(two.groups[0].encode(), renamed.encode())
    name = "entries of another epoch"
    yield _again(name, "one_group", NOTHING, groups=[[7, "two_groups 0", edits]])
    edits = changes(one.record.encode(), replace(one.record, camera="gate-4").encode())
    yield _again("a group of another camera", "one_group", NOTHING, key=edits)


def _of_packages(epochs: Mapping[str, Made]) -> Iterator[Fields]:
    def read(name: str, package: str, person: str, expect: str, *edits: Change) -> Fields:
        fields: Fields = {"name": name, "do": "read package", "package": package}
        fields |= {"person": person, "expect": expect}
        return {**fields, "edits": edits} if edits else fields

    refused = "key refused"
    yield read("a package for another receiver", "disclosure", "stranger", refused)
    yield read("a package opened by its maker", "disclosure", "dpo", refused)
    yield read(
        "a package whose age header was altered", "disclosure", "lawyer", refused, (60, 1, "2f")
    )
    yield read(
        "a package whose content was altered", "disclosure", "lawyer", refused, (400, 1, "00")
    )
    yield read("a package that lost its end", "disclosure", "lawyer", refused, (400, 10_000, ""))
    yield read("a package with a byte more", "disclosure", "lawyer", refused, (10_000, 0, "00"))
    for name, inside in broken_packages(epochs):
        fields = read(name, "disclosure", "lawyer", "refused")
        yield {**fields, "inside": inside}
    for base, package in (
        ("two_groups", "of_another_clip"),
        ("two_groups", "of_another_epoch"),
        ("two_groups", "swapped_secrets"),
        ("one_group", "disclosure"),
    ):
        name = f"a package {package.replace('_', ' ')}, for {base}"
        yield _open(name, base, NOTHING, identities=(), packages=[[package, "lawyer"]])


# --- one bit is another one ---


def _flipped(data: bytes, at: int, size: int) -> bytes:
    """The lowest bit of a field's last byte."""
    place = at + size - 1
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


def _flips_of_key(epoch: Made) -> Iterator[Fields]:
    name, key = epoch.plan.name, epoch.record.encode()
    for field, at, size in key_fields(epoch):
        edits = changes(key, _flipped(key, at, size))
        said = f"key record: a bit of {field}"
        if field in ("signature", "service key"):  # nobody can sign that again
            yield _verify(said, name, {"whole": False}, key=edits)
            yield _open(f"{said}, opened", name, NOTHING, key=edits)
        else:
            yield _again(said, name, NOTHING, key=edits)


def _flips_of_group(epoch: Made) -> Iterator[Fields]:
    name, data = epoch.plan.name, epoch.groups[0].encode()
    rows = opens(epoch.groups[:1])
    for field, at, size in group_fields(epoch, 0):
        if field.startswith("entry") and not field.startswith("entry 1"):
            continue
        groups = [[7, 0, changes(data, _flipped(data, at, size))]]
        said = f"group record: a bit of {field}"
        if field == "signature":
            yield _verify(said, name, {"whole": False}, groups=[*groups, [10, 1, []]])
            yield _open(f"{said}, opened", name, NOTHING, groups=groups)
            continue
        expect = [rows[0], rows[2]] if field.startswith("entry") else NOTHING
        if field == "entry 1 length":  # as a whole no record any more
            expect = NOTHING
        yield _again(said, name, expect, groups=groups)
