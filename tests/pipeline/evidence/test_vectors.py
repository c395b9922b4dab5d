"""Golden vectors of `bauta/1` (tests/vectors): the format as it was when they were written.

Nothing here makes one. A test that fails says that what was recorded before can no longer be read,
or that what is written now others cannot read.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from pipeline.evidence import body
from pipeline.evidence.group_record import (
    SCENE_TRACK,
    Entry,
    EntryKind,
    GroupHead,
    GroupRecord,
    Place,
    associated_data,
    nonce,
    parse_group_record,
)
from pipeline.evidence.key_record import KeyGroup, KeyRecord, parse_key_record
from pipeline.evidence.nal import ANNEX_B, Framing, slice_digest, split_nals
from pipeline.evidence.sei import UUID, records_in, sei_nal, with_records
from pipeline.evidence.sidecar_file import append_record, read_records, write_magic
from pipeline.frames import Motion
from pipeline.recover.tile_decoder import TileDecoder
from pipeline.vault.epoch import EpochSecrets, RecipientGroup
from pipeline.vault.epoch_keys import commitment, entry_key, open_entry, seal_entry, track_secret
from pipeline.vault.opening import open_epoch
from support import vector_cases as cases
from support.vector_cases import GOOD, base, groups_of, key_of
from support.vector_seeds import FOLDER, Fields, load, person, signer, unb64

MOST_BYTES = 150_000  # of the folder
CASES: list[Fields] = load("failures")["cases"]
BASICS = load("basics")


def entries_of(epoch: Fields) -> list[tuple[int, int, Fields]]:
    """Which group, which entry, and what is told of it."""
    return [
        (at, number, entry)
        for at, group in enumerate(epoch["group_records"])
        for number, entry in enumerate(group["entries"])
    ]


def head_of(group: Fields) -> GroupHead:
    digests = tuple(map(bytes.fromhex, group["digests"]))
    return GroupHead(bytes.fromhex(group["epoch_id"]), group["first"], digests, group["is_last"])


def place_of(entry: Fields) -> Place:
    box = tuple(entry["box_xywh_px"])
    return Place(EntryKind(entry["kind"]), entry["track"], entry["presence"], box)


def tiles_of(entry: Fields) -> list[body.TileItem]:
    return [
        body.TileItem(
            item["starts_video"],
            tuple(item["box_xywh_px"]),
            bytes.fromhex(item["packet"]),
            None if item["mask"] is None else bytes.fromhex(item["mask"]),
        )
        for item in entry["items"]
    ]


def motions_of(entry: Fields) -> list[Motion]:
    return [
        Motion(
            item["key_number"],
            tuple(item["key_xys_px"]),
            tuple(item["xys_px"]),
            np.array(item["grid"], np.int16),
        )
        for item in entry["motions"]
    ]


def key_of_entry(epoch: Fields, entry: Fields) -> bytes:
    (found,) = (
        bytes.fromhex(each["key"])
        for each in epoch["entry_keys"]
        if (each["kind"], each["track"]) == (entry["kind"], entry["track"])
    )
    return found


# --- good ones ---


@pytest.mark.parametrize("name", GOOD)
def test_a_key_record_comes_out_as_it_was(name: str) -> None:
    fields = base(name)["key_record"]
    data = key_of(base(name))
    parsed = parse_key_record(data)
    told = [
        KeyGroup(
            group["name"],
            group["threshold"],
            bytes.fromhex(group["commitment"]),
            known.age_files,
            bytes.fromhex(group["sealed_secret"]) if "sealed_secret" in group else None,
        )
        for group, known in zip(fields["groups"], parsed.groups, strict=True)
    ]
    record = KeyRecord(
        epoch_id=bytes.fromhex(fields["epoch_id"]),
        previous_id=bytes.fromhex(fields["previous_id"]),
        previous_frames=fields["previous_frames"],
        sequence=fields["sequence"],
        started_utc_ms=fields["started_utc_ms"],
        width_px=fields["size_px"][0],
        height_px=fields["size_px"][1],
        detail=fields["detail"],
        site=fields["site"],
        camera=fields["camera"],
        service_key=signer("service").public,
        groups=tuple(told),
        digest=bytes.fromhex(fields["digest"]),
        parameters=bytes.fromhex(fields["parameters"]),
    )
    record = record.signed(signer("service").sign(record.to_sign))
    assert record == parsed and record.encode() == data
    assert record.signature.hex() == fields["signature"]
    assert record.service_key.hex() == fields["service_key"]
    assert record.context.hex() == fields["context"]
    assert record.digest == cases.digests_of(base(name))[0]


@pytest.mark.parametrize("name", GOOD)
def test_the_service_derives_the_same_from_the_same_secrets(name: str) -> None:
    fields = base(name)["key_record"]
    groups = [
        RecipientGroup(
            group["name"],
            group["threshold"],
            tuple(person(member).recipient for member in group["people"]),
        )
        for group in fields["groups"]
    ]
    by_size = {
        32: chain(bytes.fromhex(group["secret"]) for group in fields["groups"]),
        16: chain(bytes.fromhex(group.get("shared", "")) for group in fields["groups"][1:]),
    }
    with (
        patch("pipeline.vault.epoch.random_secret", lambda n: bytearray(next(by_size[n]))),
        patch("pipeline.vault.threshold.random_secret", lambda _: bytearray(slope(fields))),
    ):
        secrets = EpochSecrets(bytes.fromhex(fields["epoch_id"]), groups)
    secrets.bind(bytes.fromhex(fields["context"]))
    for made, told in zip(secrets.key_groups, fields["groups"], strict=True):
        assert made.commitment.hex() == told["commitment"]
        assert (made.sealed_secret or b"").hex() == told.get("sealed_secret", "")
        if made.threshold == 1:
            inside = [(person(member), made.age_files[0]) for member in told["people"]]
            plains = {told["secret"]}
            assert {member.open(file).hex() for member, file in inside} == plains
        else:
            members = zip(map(person, told["people"]), made.age_files, strict=True)
            assert [member.open(file).hex() for member, file in members] == told["shares"]
    for each in base(name)["entry_keys"]:
        key = secrets.key_for(EntryKind(each["kind"]), each["track"])
        assert bytes(bytearray(key)).hex() == each["key"]
    secrets.wipe()


def slope(fields: Fields) -> bytes:
    """Of the line on which the shares lie: its value at 1 is the secret and the slope."""
    shares = (group for group in fields["groups"] if "shares" in group)
    group = next(shares)
    first, shared = bytes.fromhex(group["shares"][0])[1:], bytes.fromhex(group["shared"])
    return bytes(one ^ other for one, other in zip(first, shared, strict=True))


@pytest.mark.parametrize("name", GOOD)
def test_secrets_are_derived_as_told(name: str) -> None:
    epoch = base(name)
    epoch_id = bytes.fromhex(epoch["key_record"]["epoch_id"])
    context = bytes.fromhex(epoch["key_record"]["context"])
    secrets = {g["name"]: bytes.fromhex(g["secret"]) for g in epoch["key_record"]["groups"]}
    for group in epoch["key_record"]["groups"]:
        made = commitment(secrets[group["name"]], epoch_id, group["name"])
        assert made.hex() == group["commitment"]
    of_track: dict[int, list[bytes]] = {}
    for each in epoch["track_secrets"]:
        secret = secrets[each["group"]]
        made = track_secret(secret, epoch_id, context, each["group"], each["track"])
        assert made.hex() == each["secret"]
        of_track.setdefault(each["track"], []).append(made)
    assert SCENE_TRACK in of_track or name == "threshold"
    for each in epoch["entry_keys"]:
        track = SCENE_TRACK if each["kind"] == EntryKind.SCENE else each["track"]
        key = entry_key(of_track[track], epoch_id, EntryKind(each["kind"]))
        assert key.hex() == each["key"]


@pytest.mark.parametrize("name", GOOD)
def test_any_of_the_told_keys_open_the_secrets(name: str) -> None:
    epoch = base(name)
    record = parse_key_record(key_of(epoch))
    told = {group["name"]: group["secret"] for group in epoch["key_record"]["groups"]}
    for people in epoch["opens_with"]:
        keys = open_epoch(record, identities=[person(member) for member in people])
        assert {group: secret.hex() for group, secret in keys.group_secrets.items()} == told
        assert keys.opens_everything and not keys.missing_groups
        for each in epoch["entry_keys"]:
            key = keys.key_for(EntryKind(each["kind"]), each["track"])
            assert key is not None and key.hex() == each["key"]


@pytest.mark.parametrize("name", GOOD)
def test_group_records_come_out_as_they_were(name: str) -> None:
    epoch = base(name)
    context = bytes.fromhex(epoch["key_record"]["context"])
    for data, fields in zip(groups_of(epoch), epoch["group_records"], strict=True):
        head = head_of(fields)
        entries = []
        for told in fields["entries"]:
            place, plain = place_of(told), unb64(told["plain_base64"])
            assert nonce(head, place).hex() == told["nonce"]
            assert associated_data(context, head, place).hex() == told["associated_data"]
            entry = seal_entry(key_of_entry(epoch, told), context, head, place, plain)
            assert entry.sealed[-16:].hex() == told["tag"]
            entries.append(entry)
        record = GroupRecord(head, tuple(entries))
        record = record.signed(signer("service").sign(record.to_sign(context)))
        assert record.encode() == data and record == parse_group_record(data)
        assert record.signature.hex() == fields["signature"]


@pytest.mark.parametrize("name", GOOD)
def test_entries_open_and_hold_what_is_told(name: str) -> None:
    epoch = base(name)
    context = bytes.fromhex(epoch["key_record"]["context"])
    records = [parse_group_record(data) for data in groups_of(epoch)]
    kinds = set()
    for at, number, told in entries_of(epoch):
        entry: Entry = records[at].entries[number]
        plain = open_entry(key_of_entry(epoch, told), context, records[at].head, entry)
        assert plain == unb64(told["plain_base64"]) and len(plain) in body.SIZES
        kinds.add(told["kind"])
        if told["kind"] == EntryKind.MOTION:
            assert_same_motions(body.parse_motions(plain), motions_of(told))
            assert_same_motions(
                body.parse_motions(body.encode_motions(motions_of(told))), motions_of(told)
            )
            continue
        items = tiles_of(told)
        assert list(body.parse_tiles(plain)) == items
        assert list(body.parse_tiles(body.encode_tiles(items))) == items
        if all(item.mask is None for item in items):  # with one zlib has a say as well
            assert body.encode_tiles(items) == plain
        for item, shown in zip(items, told["items"], strict=True):
            mask = body.mask_of(item)
            rows = None if mask is None else ["".join(map(str, row)) for row in mask]
            assert rows == shown["mask_rows"]
            assert mask is None or body.mask_bits(mask) == item.mask
    assert kinds == {"one_group": {2, 4}, "two_groups": {2, 3, 4}, "threshold": {2}}[name]


def assert_same_motions(ours: Any, told: list[Motion]) -> None:
    assert len(ours) == len(told)
    for one, other in zip(ours, told, strict=True):
        assert (one.key_number, one.key_xys_px, one.xys_px) == (
            *(other.key_number, other.key_xys_px, other.xys_px),
        )
        np.testing.assert_array_equal(one.grid, other.grid)


@pytest.mark.parametrize("name", GOOD)
def test_tiles_are_decoded_to_the_told_pixels(name: str) -> None:
    epoch = base(name)
    for video in epoch["pictures"]:
        decoder, found = TileDecoder(), []
        own = [
            entry
            for _, _, entry in entries_of(epoch)
            if (entry["kind"], entry["track"]) == (video["kind"], video["track"])
        ]
        for item in chain.from_iterable(tiles_of(entry) for entry in own):
            planes = decoder.decode(item)
            assert planes is not None
            joined = b"".join(plane.tobytes() for plane in (planes.y, planes.u, planes.v))
            found.append(hashlib.sha256(joined).hexdigest())
        assert found == [picture["planes_sha256"] for picture in video["pictures"]]


@pytest.mark.parametrize("name", GOOD)
def test_records_are_in_their_sei_messages(name: str) -> None:
    epoch = base(name)
    for fields in (epoch["key_record"], *epoch["group_records"]):
        record, nal = unb64(fields["record_base64"]), unb64(fields["sei_h264_base64"])
        assert sei_nal(record, "h264") == nal and records_in([nal], "h264") == [record]
    nal = unb64(epoch["key_record"]["sei_h265_base64"])
    assert sei_nal(key_of(epoch), "h265") == nal and records_in([nal], "h265") == [key_of(epoch)]


def test_a_sidecar_comes_out_as_it_was(tmp_path: Path) -> None:
    epoch = base("threshold")
    records = [key_of(epoch), *groups_of(epoch)]
    path = tmp_path / "clip.mp4.bauta"
    with path.open("wb") as file:
        write_magic(file)
        for record in records:
            append_record(file, record)
    assert path.read_bytes() == unb64(epoch["sidecar_base64"])
    assert read_records(path) == records


# --- what needs no key ---


def test_the_padding_list() -> None:
    told = BASICS["padding"]
    assert body.SIZES[: len(told["sizes"])] == told["sizes"] and len(told["sizes"]) == 20
    assert body.SIZES[-1] == told["last_size"]
    for content, size in told["content_to_padded"]:
        assert body.padded(b"\1" * content) == b"\1" * content + bytes(size - content)


@pytest.mark.parametrize("told", BASICS["digests"])
def test_slice_digests(told: Fields) -> None:
    nals = split_nals(bytes.fromhex(told["packet"]), Framing(told["length_bytes"]))
    assert slice_digest(nals, told["codec"]).hex() == told["digest"]


def test_sei_messages() -> None:
    assert UUID.hex() == BASICS["uuid"]
    for told in BASICS["sei"]:
        record = bytes.fromhex(told["record"])
        for codec in ("h264", "h265"):
            nal = bytes.fromhex(told[codec])
            assert sei_nal(record, codec) == nal and records_in([nal], codec) == [record]


@pytest.mark.parametrize("told", BASICS["packets"], ids=["h264", "h265"])
def test_records_in_a_packet(told: Fields) -> None:
    codec, packet = told["codec"], bytes.fromhex(told["packet"])
    records = list(map(bytes.fromhex, told["records"]))
    assert with_records(packet, records, codec).hex() == told["with_records"]
    for name, expected in (("with_records", "records"), ("several_messages", "several_records")):
        nals = split_nals(bytes.fromhex(told[name]), ANNEX_B)
        assert [record.hex() for record in records_in(nals, codec)] == told[expected]
        assert slice_digest(nals, codec) == slice_digest(split_nals(packet, ANNEX_B), codec)


@pytest.mark.parametrize("told", BASICS["sidecars"])
def test_sidecars_that_were_cut_short(told: Fields, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4.bauta"
    path.write_bytes(bytes.fromhex(told["file"]))
    assert [record.hex() for record in read_records(path)] == told["records"]


# --- the folder ---


def test_the_vectors_are_small_and_all_of_them_are_read() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    known = {*GOOD, "basics", "packages", "altered_epochs", "failures", "identities"}
    assert set(files) == {"README.md", *(f"{name}.json" for name in known)}
    assert sum(files.values()) < MOST_BYTES
    used = {case.get("base") for case in CASES}
    assert used >= set(load("altered_epochs")) | set(GOOD)
    assert "For tests only" in load("identities")["about"]
