"""A second reader of `bauta/1`, written from docs/evidence-format.md alone: nothing of pipeline.

What it opens shows that the specification says all that is needed. It is plain and slow, and it
judges less than the product: whether a clip is complete is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .independent_contents import read_contents
from .independent_wire import (
    Bytes,
    Fields,
    KeyRefused,
    Refused,
    age_open,
    hkdf,
    is_signed,
    need,
    text,
)

SCENE = 2**32 - 1
MIB = 2**20
FACE, MOTION, SCENES = 2, 3, 4
FIELDS = {
    *("what", "case", "reason", "made_utc", "maker", "maker_age", "clip_sha256", "tracks"),
    "epochs",
}
UUID = uuid.uuid5(uuid.NAMESPACE_URL, "bauta/1 evidence").bytes


# --- 1 and 2: the stream ---


def nals_by_start_codes(packet: bytes) -> list[bytes]:
    pieces = packet.split(b"\0\0\1")
    need(not pieces[0].strip(b"\0"), "no start code")
    return [piece.rstrip(b"\0") for piece in pieces[1:] if piece.rstrip(b"\0")]


def nals_by_lengths(packet: bytes, length_bytes: int) -> list[bytes]:
    data, found = Bytes(packet), []
    while data.at < len(packet):
        found.append(data.take(data.u(length_bytes)).rstrip(b"\0"))
    return [nal for nal in found if nal]


def slice_digest(nals: Sequence[bytes], codec: str) -> bytes:
    joined = b""
    for nal in nals:
        vcl = 1 <= nal[0] & 31 <= 5 if codec == "h264" else (nal[0] >> 1) & 63 <= 31
        if vcl:
            joined += struct.pack(">I", len(nal)) + nal
    return hashlib.sha256(joined).digest()[:16]


def parameter_digest(nals: Sequence[bytes], codec: str) -> bytes:
    """Of the parameter sets, each once, in the order of their bytes; zeros where there are none."""
    if codec == "h264":
        sets = {nal for nal in nals if nal[0] & 31 in (7, 8, 13, 15)}
    else:
        sets = {nal for nal in nals if (nal[0] >> 1) & 63 in (32, 33, 34)}
    joined = b"".join(struct.pack(">I", len(nal)) + nal for nal in sorted(sets))
    return hashlib.sha256(joined).digest()[:16] if sets else bytes(16)


def records_in(nals: Sequence[bytes], codec: str) -> list[bytes]:
    """Messages of other senders are passed over."""
    found = []
    for nal in nals:
        kind = nal[0] & 31 if codec == "h264" else (nal[0] >> 1) & 63
        if kind != (6 if codec == "h264" else 39):
            continue
        for payload_type, payload in sei_messages(nal[1 if codec == "h264" else 2 :]):
            if payload_type == 5 and payload[:16] == UUID:
                found.append(payload[16:])
    return found


def sei_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    data = data.replace(b"\0\0\3", b"\0\0")  # emulation prevention
    at = 0
    while at < len(data) - 1:  # the last byte is the stop bit
        both = []
        for _ in range(2):
            value = 0
            while data[at : at + 1] == b"\xff":
                value, at = value + 255, at + 1
            both.append(value + sum(data[at : at + 1]))
            at += 1
        yield both[0], data[at : at + both[1]]
        at += both[1]


def read_sidecar(data: bytes) -> list[bytes]:
    magic = b"bauta/1 sidecar\n"
    need(magic.startswith(data[: len(magic)]), "no sidecar")
    at, found = len(magic), []
    while at + 4 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        need(1 <= size <= 4 * MIB, "no size of a record")
        if at + 4 + size > len(data):
            break  # torn
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


# --- 3: key record ---


def read_key_record(data: bytes) -> Fields:
    need(len(data) <= 4 * MIB, "too long")
    take = Bytes(data)
    need(take.u(1) == 1, "no key record")
    record: Fields = {
        "epoch_id": take.take(16),
        "previous_id": take.take(16),
        "previous_frames": take.u(4),
        "sequence": take.u(4),
        "started_utc_ms": take.u(8),
        "size_px": (take.u(2), take.u(2)),
        "detail": take.u(1),
        "site": take.text(),
        "camera": take.text(),
        "service_key": take.take(32),
        "groups": [read_recipients(take) for _ in range(take.u(1))],
        "digest": take.take(16),
        "parameters": take.take(16),
        "context": hashlib.sha256(data[:-64]).digest(),
        "signature": take.take(64),
    }
    need(take.at == len(data), "longer than it says")
    names = [group["name"].encode() for group in record["groups"]]
    need(1 <= len(names) <= 16 and names == sorted(set(names)), "groups")
    need(min(record["size_px"]) >= 2 and record["detail"] <= 2, "size or detail")
    record["is_signed"] = is_signed(
        record["service_key"], record["signature"], b"bauta/1 key" + data[:-64]
    )
    return record


def read_recipients(take: Bytes) -> Fields:
    group: Fields = {"name": take.text(), "threshold": take.u(1), "commitment": take.take(32)}
    group["age_files"] = [take.take(take.u(2)) for _ in range(take.u(1))]
    threshold, files = group["threshold"], len(group["age_files"])
    group["sealed_secret"] = take.take(48) if threshold > 1 else None
    need(group["name"] != "" and 1 <= threshold <= files <= 64, "a group")
    need(threshold > 1 or files == 1, "one age file without a threshold")
    return group


def group_secret(group: Fields, epoch_id: bytes, identities: Sequence[str]) -> bytes | None:
    """S_g; of shares any choice of as many as are needed."""
    had = []
    for identity in identities:
        for file in group["age_files"]:
            try:
                had.append(age_open(file, identity))
            except KeyRefused:
                continue
    size = 32 if group["threshold"] == 1 else 17
    had = [plain for plain in dict.fromkeys(had) if len(plain) == size]
    for chosen in combinations(had, group["threshold"]):
        secret = chosen[0] if size == 32 else from_shares(group, epoch_id, chosen)
        info = b"bauta/1 commitment" + text(group["name"])
        if secret is not None and hkdf(secret, epoch_id, info) == group["commitment"]:
            return secret
    return None


def from_shares(group: Fields, epoch_id: bytes, shares: Sequence[bytes]) -> bytes | None:
    points = {share[0]: share[1:] for share in shares if share[0]}
    if len(points) < len(shares):
        return None
    between = Shamir.combine(list(points.items()))
    key = hkdf(between, epoch_id, b"bauta/1 threshold" + text(group["name"]))
    try:
        return ChaCha20Poly1305(key).decrypt(
            bytes(12), group["sealed_secret"], b"bauta/1 threshold"
        )
    except InvalidTag:
        return None


def track_secret(secret: bytes, epoch_id: bytes, context: bytes, name: str, track: int) -> bytes:
    info = b"bauta/1 track" + context + text(name) + struct.pack(">I", track)
    return hkdf(secret, epoch_id, info)


def entry_key(track_secrets: Sequence[bytes], epoch_id: bytes, kind: int) -> bytes:
    return hkdf(b"".join(track_secrets), epoch_id, b"bauta/1 entry" + bytes((kind,)))


# --- 4: group record ---


def read_group_record(data: bytes) -> Fields:
    need(len(data) <= 4 * MIB, "too long")
    take = Bytes(data)
    need(take.u(1) == 2, "no group record")
    group: Fields = {"epoch_id": take.take(16), "first": take.u(4)}
    frames, flags = take.u(1), take.u(1)
    need(1 <= frames <= 8 and flags <= 1, "frames or flags")
    group["is_last"] = flags == 1
    group["digests"] = [take.take(16) for _ in range(frames)]
    group["head"] = data[: take.at]
    count = take.u(2)
    need(count <= 4096, "entries")
    group["entries"] = [read_entry(take, frames) for _ in range(count)]
    group["unsigned"] = data[: take.at]
    group["signature"] = take.take(64)
    need(take.at == len(data), "longer than it says")
    names = [(entry["kind"], entry["track"]) for entry in group["entries"]]
    need(names == sorted(set(names)), "entries out of order")
    return group


def read_entry(take: Bytes, frames: int) -> Fields:
    begins = take.at
    entry: Fields = {"kind": take.u(1), "track": take.u(4), "presence": take.u(1)}
    entry["box"] = tuple(take.u(2) for _ in range(4))
    entry["place"] = take.data[begins : take.at]
    entry["sealed"] = take.take(take.u(3))
    need(entry["kind"] in (FACE, MOTION, SCENES) and entry["track"] < SCENE, "kind or track")
    need(0 < entry["presence"] < 2**frames, "presence")
    need(len(entry["sealed"]) >= 16, "no tag")
    return entry


def is_group_signed(record: Fields, group: Fields) -> bool:
    data = b"bauta/1 group" + record["context"] + group["unsigned"]
    return is_signed(record["service_key"], group["signature"], data)


def associated_data(record: Fields, group: Fields, entry: Fields) -> bytes:
    joined: bytes = b"bauta/1 entry" + record["context"] + group["head"] + entry["place"]
    return joined


def nonce(group: Fields, entry: Fields) -> bytes:
    return struct.pack(">III", entry["track"], entry["kind"], group["first"])


def open_entry(record: Fields, group: Fields, entry: Fields, key: bytes) -> bytes | None:
    data = associated_data(record, group, entry)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce(group, entry), entry["sealed"], data)
    except InvalidTag:
        return None


# --- 6: packages ---


def open_package(file: bytes, identity: str) -> Fields:
    take = Bytes(age_open(file, identity))
    need(take.take(16) == b"bauta/1 package\n", "no package")
    length = take.take(4)
    content = take.take(int.from_bytes(length, "big"))
    signature = take.take(64)
    need(take.at == len(take.data), "longer than it says")
    try:
        fields = json.loads(content)
        need(set(fields) >= FIELDS, "a field is missing")
        maker = base64.b64decode(fields["maker"].split()[1], validate=True)
        epochs = [
            {
                "id": bytes.fromhex(epoch["id"]),
                "context": bytes.fromhex(epoch["context"]),
                "groups": {
                    name: {plain_number(track): secret_of(value) for track, value in found.items()}
                    for name, found in epoch["groups"].items()
                },
            }
            for epoch in fields["epochs"]
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise Refused("content") from None
    need(maker[:19] == b"\0\0\0\x0bssh-ed25519\0\0\0\x20" and len(maker) == 51, "maker")
    need(is_signed(maker[19:], signature, b"bauta/1 package" + length + content), "signature")
    need(fields["what"] in ("disclosure", "release"), "what")
    need(len({epoch["id"] for epoch in epochs}) == len(epochs), "an epoch twice")
    return {**fields, "maker": maker[19:], "epochs": epochs}


def plain_number(value: str) -> int:
    number = int(value)
    need(str(number) == value and 0 <= number <= SCENE, "a track")
    return number


def secret_of(value: str) -> bytes:
    need(len(value) == 64, "a secret")
    return bytes.fromhex(value)


# --- all together ---


def opened(
    key_record: bytes,
    group_records: Sequence[bytes],
    frames: Sequence[bytes],
    *,
    identities: Sequence[str],
    packages: Sequence[Mapping[str, Any]] = (),
    pinned: bytes | None = None,
) -> list[tuple[int, int, int, int]]:
    """(first, kind, track, presence) of the entries that open; `frames`: slice digests.

    Bits of frames whose digest is another one are 0. What is refused is left out.
    """
    try:
        record = read_key_record(key_record)
    except Refused:
        return []
    if not record["is_signed"] or pinned not in (None, record["service_key"]):
        return []
    secrets = {
        group["name"]: group_secret(group, record["epoch_id"], identities)
        for group in record["groups"]
    }
    found, end = [], 0
    for data in group_records:
        try:
            group = read_group_record(data)
        except Refused:
            continue
        first = group["first"]
        if group["epoch_id"] != record["epoch_id"] or not is_group_signed(record, group):
            continue
        if first < end or (first == 0 and group["digests"][0] != record["digest"]):
            continue
        end = first + len(group["digests"])
        there = sum(
            1 << at
            for at, digest in enumerate(group["digests"])
            if list(frames[first + at : first + at + 1]) == [digest]
        )
        for entry in group["entries"]:
            presence = entry["presence"] & there
            if presence and entry_opens(record, group, entry, secrets, packages):
                found.append((first, entry["kind"], entry["track"], presence))
    return found


def entry_opens(
    record: Fields,
    group: Fields,
    entry: Fields,
    secrets: Mapping[str, bytes | None],
    packages: Sequence[Mapping[str, Any]],
) -> bool:
    epoch_id = record["epoch_id"]
    track = SCENE if entry["kind"] == SCENES else entry["track"]
    derived = []
    for name, secret in secrets.items():
        handed = [
            epoch["groups"][name][track]
            for package in packages
            for epoch in package["epochs"]
            if (epoch["id"], epoch["context"]) == (epoch_id, record["context"])
            and track in epoch["groups"].get(name, {})
        ]
        if secret is not None:
            handed.insert(0, track_secret(secret, epoch_id, record["context"], name, track))
        if not handed:
            return False
        derived.append(handed[0])
    plain = open_entry(record, group, entry, entry_key(derived, epoch_id, entry["kind"]))
    try:
        contents = read_contents(entry["kind"], plain) if plain is not None else []
    except Refused:
        return False
    expected: int = entry["presence"].bit_count()
    return len(contents) == expected
