"""The second reader opens the vectors as well: the specification says all that is needed.

It is written from docs/evidence-format.md and imports nothing of the product. Where the two differ
one of them, or the specification, is wrong.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support import independent_contents, independent_reader, independent_wire
from support.independent_wire import Fields, KeyRefused, Refused
from support.vector_cases import (
    GOOD,
    Case,
    base,
    bytes_of,
    digests_of,
    file_of,
    package_file,
    prepared,
)
from support.vector_seeds import load, person, unb64

READER = independent_reader
CASES: list[Fields] = load("failures")["cases"]
BASICS = load("basics")
# whether a clip is whole is for the product alone
READABLE = [case for case in CASES if case["do"] != "verify"]
DETAILS = ("default", "lossless", "keyframes")
ALLOWED = {
    *("Crypto", "cryptography", "pyrage"),
    *("base64", "collections", "hashlib", "itertools", "json", "struct", "typing", "uuid", "zlib"),
    "__future__",
}


def test_it_imports_nothing_of_the_product() -> None:
    modules = (independent_reader, independent_contents, independent_wire)
    for module in modules:
        path = Path(module.__file__ or "")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert str(node.module).startswith("independent_"), path
                continue
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {str(name).partition(".")[0] for name in names} <= ALLOWED, path


def seen(nal: str, codec: str) -> bytes:
    (record,) = READER.records_in([unb64(nal)], codec)
    return record


@pytest.mark.parametrize("name", GOOD)
def test_from_sei_and_keys_to_what_is_sealed(name: str) -> None:
    """Nothing else is used of the vector than its SEI messages, its frames and the keys."""
    epoch = base(name)
    told = epoch["key_record"]
    data = seen(told["sei_h264_base64"], "h264")
    assert data == seen(told["sei_h265_base64"], "h265") == unb64(told["record_base64"])
    record = READER.read_key_record(data)
    assert_same_key_record(record, told)
    for people in epoch["opens_with"]:
        secrets = [
            READER.group_secret(
                group, record["epoch_id"], [person(member).secret for member in people]
            )
            for group in record["groups"]
        ]
        assert [(each or b"").hex() for each in secrets] == [g["secret"] for g in told["groups"]]
    keys = {(each["kind"], each["track"]): each["key"] for each in epoch["entry_keys"]}
    for expected in epoch["group_records"]:
        group = READER.read_group_record(seen(expected["sei_h264_base64"], "h264"))
        assert READER.is_group_signed(record, group)
        for field in ("first", "is_last"):
            assert group[field] == expected[field]
        assert [digest.hex() for digest in group["digests"]] == expected["digests"]
        for entry, sealed in zip(group["entries"], expected["entries"], strict=True):
            track = READER.SCENE if entry["kind"] == READER.SCENES else entry["track"]
            derived = [
                READER.track_secret(
                    secret or b"", record["epoch_id"], record["context"], each["name"], track
                )
                for secret, each in zip(secrets, record["groups"], strict=True)
            ]
            key = READER.entry_key(derived, record["epoch_id"], entry["kind"])
            assert key.hex() == keys[entry["kind"], entry["track"]]
            assert READER.nonce(group, entry).hex() == sealed["nonce"]
            bound = READER.associated_data(record, group, entry)
            assert bound.hex() == sealed["associated_data"]
            plain = READER.open_entry(record, group, entry, key)
            assert plain == unb64(sealed["plain_base64"])
            assert_same_entry(entry, sealed)
            assert_same_contents(independent_contents.read_contents(entry["kind"], plain), sealed)


def assert_same_key_record(record: Fields, told: Fields) -> None:
    assert record["is_signed"] and DETAILS[record["detail"]] == told["detail"]
    for field in ("epoch_id", "previous_id", "service_key", "digest", "signature", "context"):
        assert record[field].hex() == told[field]
    for field in ("previous_frames", "sequence", "started_utc_ms", "site", "camera"):
        assert record[field] == told[field]
    assert list(record["size_px"]) == told["size_px"]
    for group, expected in zip(record["groups"], told["groups"], strict=True):
        assert (group["name"], group["threshold"]) == (expected["name"], expected["threshold"])
        assert group["commitment"].hex() == expected["commitment"]
        assert (group["sealed_secret"] or b"").hex() == expected.get("sealed_secret", "")


def assert_same_entry(entry: Fields, sealed: Fields) -> None:
    for field in ("kind", "track", "presence"):
        assert entry[field] == sealed[field]
    assert list(entry["box"]) == sealed["box_xywh_px"]
    assert entry["sealed"][-16:].hex() == sealed["tag"]


def assert_same_contents(contents: list[Fields], sealed: Fields) -> None:
    told = sealed.get("items") or sealed["motions"]
    for content, expected in zip(contents, told, strict=True):
        if "grid" in expected:
            assert content["grid"] == expected["grid"]
            assert content["key_number"] == expected["key_number"]
            assert content["key_xys"] == expected["key_xys_px"]
            assert content["xys"] == expected["xys_px"]
            continue
        assert content["starts_video"] == expected["starts_video"]
        assert list(content["box"]) == expected["box_xywh_px"]
        assert content["packet"].hex() == expected["packet"]
        assert mask_rows(content) == expected["mask_rows"]


def mask_rows(item: Fields) -> list[str] | None:
    if item["mask"] is None:
        return None
    width, height = item["box"][2] // 2, item["box"][3] // 2
    row_bytes = len(item["mask"]) // height
    rows = [item["mask"][at : at + row_bytes] for at in range(0, len(item["mask"]), row_bytes)]
    return ["".join(f"{byte:08b}" for byte in row)[:width] for row in rows]


def test_what_needs_no_key() -> None:
    assert READER.UUID.hex() == BASICS["uuid"]
    sizes = [128]
    for told in BASICS["padding"]["sizes"][1:]:
        sizes.append((sizes[-1] * 9 + 127) // 128 * 16)
        assert sizes[-1] == told
    for told in BASICS["digests"]:
        packet, length_bytes = bytes.fromhex(told["packet"]), told["length_bytes"]
        if length_bytes:
            nals = READER.nals_by_lengths(packet, length_bytes)
        else:
            nals = READER.nals_by_start_codes(packet)
        assert READER.slice_digest(nals, told["codec"]).hex() == told["digest"]
    for told in BASICS["sei"]:
        for codec in ("h264", "h265"):
            found = READER.records_in([bytes.fromhex(told[codec])], codec)
            assert [record.hex() for record in found] == [told["record"]]
    for told in BASICS["packets"]:
        for name, expected in (
            ("with_records", "records"),
            ("several_messages", "several_records"),
        ):
            nals = READER.nals_by_start_codes(bytes.fromhex(told[name]))
            found = READER.records_in(nals, told["codec"])
            assert [record.hex() for record in found] == told[expected]
    for told in BASICS["sidecars"]:
        found = READER.read_sidecar(bytes.fromhex(told["file"]))
        assert [record.hex() for record in found] == told["records"]


def test_a_sidecar() -> None:
    epoch = base("threshold")
    records = READER.read_sidecar(unb64(epoch["sidecar_base64"]))
    told = (epoch["key_record"], *epoch["group_records"])
    assert records == [unb64(each["record_base64"]) for each in told]


def opened(case: Case) -> list[tuple[int, int, int, int]]:
    return READER.opened(
        case.key,
        [data for _, data in case.groups],
        case.digests,
        identities=case.identities,
        packages=[READER.open_package(file, secret) for file, secret in case.packages],
        pinned=case.pinned,
    )


@pytest.mark.parametrize("name", GOOD)
def test_everything_opens(name: str) -> None:
    rows = list(map(tuple, base(name)["opens"]))
    assert opened(prepared({"base": name})) == rows and len(rows) in (1, 4)
    nals = [READER.nals_by_start_codes(bytes.fromhex(frame)) for frame in base(name)["frames"]]
    assert [READER.slice_digest(nal, "h264") for nal in nals] == digests_of(base(name))


@pytest.mark.parametrize("name", sorted(load("packages")["good"]))
def test_packages(name: str) -> None:
    fields, _ = package_file(name)
    for people, rows in fields["opens"].items():
        case: Fields = {"base": "two_groups", "packages": [[name, fields["receiver"]]]}
        case["identities"] = people.split()
        assert opened(prepared(case)) == list(map(tuple, rows))


READERS = {
    "key": READER.read_key_record,
    "group": READER.read_group_record,
    "face": independent_contents.read_tiles,
    "motion": independent_contents.read_motions,
    "sidecar": READER.read_sidecar,
}


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in READABLE])
def test_it_comes_to_the_same_in_every_case(case: Fields) -> None:
    if case["do"] == "open":
        assert opened(prepared(case)) == list(map(tuple, case["expect"]))
    elif case["do"] == "read":
        with pytest.raises(Refused):
            READERS[case["what"]](bytes_of(case))
    else:
        assert case["do"] == "read package"
        refused = {"refused": Refused, "key refused": KeyRefused}[case["expect"]]
        with pytest.raises(refused):
            READER.open_package(file_of(case), person(case["person"]).secret)
