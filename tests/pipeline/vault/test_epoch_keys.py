"""Derivations and the seal, held to HKDF and ChaCha20-Poly1305 written out."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from pipeline.errors import NothingOpened, VaultError
from pipeline.evidence.group_record import EntryKind, GroupHead, Place
from pipeline.vault.epoch_keys import (
    commitment,
    entry_key,
    open_entry,
    seal_entry,
    threshold_info,
    track_secret,
)

SECRET, EPOCH = bytes(range(32)), bytes(range(100, 116))
KEY, CONTEXT = bytes(range(1, 33)), bytes(range(32, 64))
HEAD = GroupHead(EPOCH, 16, (bytes(16), bytes(range(16))), is_last=False)
PLACE = Place(EntryKind.FACE, 7, 0b11, (2, 4, 6, 8))


def rfc5869(secret: bytes, salt: bytes, info: bytes) -> bytes:
    first = hmac.digest(salt, secret, hashlib.sha256)
    return hmac.digest(first, info + b"\x01", hashlib.sha256)


def test_the_labels_are_those_of_the_format() -> None:
    name = b"\x03dpo"
    assert commitment(SECRET, EPOCH, "dpo") == rfc5869(SECRET, EPOCH, b"bauta/1 commitment" + name)
    assert threshold_info("dpo") == b"bauta/1 threshold" + name
    expected = rfc5869(SECRET, EPOCH, b"bauta/1 track" + CONTEXT + name + b"\0\1\0\2")
    assert track_secret(SECRET, EPOCH, CONTEXT, "dpo", 65538) == expected
    expected = rfc5869(SECRET + KEY, EPOCH, b"bauta/1 entry\x04")
    assert entry_key([SECRET, KEY], EPOCH, EntryKind.SCENE) == expected


def test_everything_counts() -> None:
    made = {
        track_secret(secret, epoch, context, name, track)
        for secret in (SECRET, KEY)
        for epoch in (EPOCH, bytes(16))
        for context in (CONTEXT, bytes(32))
        for name in ("dpo", "dp", "a name that is longer")
        for track in (0, 1, 2**32 - 1)
    }
    made |= {entry_key(parts, EPOCH, kind) for parts in ([SECRET], [KEY]) for kind in EntryKind}
    assert len(made) == 2 * 2 * 2 * 3 * 3 + 2 * 3
    assert entry_key([SECRET, KEY], EPOCH, EntryKind.FACE) != entry_key(
        [KEY, SECRET], EPOCH, EntryKind.FACE
    )


def test_an_entry_opens_where_it_was_and_nowhere_else() -> None:
    entry = seal_entry(KEY, CONTEXT, HEAD, PLACE, b"a face")
    assert b"a face" not in entry.sealed and entry.place == PLACE
    assert open_entry(KEY, CONTEXT, HEAD, entry) == b"a face"
    flipped = bytes((entry.sealed[0] ^ 1,)) + entry.sealed[1:]
    moved = [
        (SECRET, CONTEXT, HEAD, entry),
        (KEY, KEY, HEAD, entry),
        (KEY, CONTEXT, replace(HEAD, first=8), entry),
        (KEY, CONTEXT, replace(HEAD, is_last=True), entry),
        (KEY, CONTEXT, replace(HEAD, digests=HEAD.digests[::-1]), entry),
        (KEY, CONTEXT, HEAD, replace(entry, place=replace(PLACE, track=8))),
        (KEY, CONTEXT, HEAD, replace(entry, place=replace(PLACE, kind=EntryKind.MOTION))),
        (KEY, CONTEXT, HEAD, replace(entry, place=replace(PLACE, presence=1))),
        (KEY, CONTEXT, HEAD, replace(entry, place=replace(PLACE, box_xywh_px=(2, 4, 6, 10)))),
        (KEY, CONTEXT, HEAD, replace(entry, sealed=flipped)),
        (KEY, CONTEXT, HEAD, replace(entry, sealed=entry.sealed[:-1])),
        (KEY, CONTEXT, HEAD, replace(entry, sealed=b"")),
    ]
    for arguments in moved:
        with pytest.raises(NothingOpened, match="keys and clip do not fit"):
            open_entry(*arguments)


def test_a_wiped_key_seals_nothing() -> None:
    with pytest.raises(VaultError, match="was wiped"):
        seal_entry(bytes(32), CONTEXT, HEAD, PLACE, b"a face")
