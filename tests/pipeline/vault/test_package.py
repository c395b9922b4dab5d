"""Disclosures and releases: for one receiver, one clip, and no more than was meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import KeyRefused, NothingOpened, RecordError, VaultError
from pipeline.evidence.group_record import SCENE_TRACK, EntryKind
from pipeline.vault.identity import Identity, wrap_for
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import (
    MAGIC,
    SIGNATURE_LABEL,
    Package,
    Purpose,
    make_disclosure,
    make_release,
    open_package,
)
from pipeline.vault.signing import officer_key
from support.people import SealedEpoch, group_of, people, sealed_epoch

DPO, POLICE, LAWYER, STRANGER = people(4)
TRACKS = (1, 2)
EPOCHS = [
    sealed_epoch(group_of("dpo", [DPO]), group_of("police", [POLICE]), tracks=TRACKS)
    for _ in range(3)
]
OTHER = sealed_epoch(group_of("dpo", [DPO]), group_of("police", [POLICE]), tracks=TRACKS)
PRESENT = {epoch.record.epoch_id: TRACKS for epoch in EPOCHS}


def purpose(maker: Identity, receiver: Identity) -> Purpose:
    return Purpose(
        maker=maker,
        receiver=receiver.recipient,
        case="117/26",
        reason='order "4 Js 12", ünïcode',
        clip_sha256="ab" * 32,
    )


def disclosure(track: int = 2) -> bytes:
    keys = [open_epoch(epoch.record, identities=[DPO, POLICE]) for epoch in EPOCHS]
    return make_disclosure(keys, track, purpose(DPO, LAWYER))


def release(tracks: tuple[int, ...] | None = (2,)) -> bytes:
    keys = [open_epoch(epoch.record, identities=[DPO]) for epoch in EPOCHS]
    return make_release(keys, "dpo", tracks, purpose(DPO, POLICE), present=PRESENT)


def opened_with(
    package: Package, *identities: Identity, epochs: list[SealedEpoch] = EPOCHS
) -> list[set[tuple[EntryKind, int]]]:
    """For each epoch what opens; it is checked to be what the service had."""
    found = []
    for epoch in epochs:
        keys = open_epoch(epoch.record, identities=identities, packages=[package])
        opened = {entry: keys.key_for(*entry) for entry in epoch.keys}
        opened = {entry: key for entry, key in opened.items() if key is not None}
        assert all(epoch.keys[entry] == key for entry, key in opened.items())
        found.append(set(opened))
    return found


def of_track(track: int) -> set[tuple[EntryKind, int]]:
    return {(EntryKind.FACE, track), (EntryKind.MOTION, track)}


def test_a_disclosure_opens_its_track_and_nothing_else() -> None:
    package = open_package(disclosure(), LAWYER)
    assert (package.what, package.case, package.tracks) == ("disclosure", "117/26", (2,))
    assert package.reason == 'order "4 Js 12", ünïcode' and package.clip_sha256 == "ab" * 32
    assert package.maker_public == officer_key(DPO).public
    assert package.maker_age == DPO.recipient.public and package.made_utc.endswith("+00:00")
    assert opened_with(package) == [of_track(2)] * 3
    # also for somebody of one group: the other's S is not in it
    assert opened_with(package, DPO) == [of_track(2)] * 3
    keys = open_epoch(EPOCHS[0].record, identities=[], packages=[package])
    assert keys.missing_groups == () and keys.opened_by == () and not keys.opens_everything
    assert keys.opens_track(2) and not keys.opens_track(1)


def test_a_release_opens_only_with_the_other_group() -> None:
    package = open_package(release(), POLICE)
    assert (package.what, package.tracks) == ("release", (2,))
    assert opened_with(package) == [set()] * 3
    assert opened_with(package, DPO) == [set()] * 3
    assert opened_with(package, POLICE) == [of_track(2)] * 3
    keys = open_epoch(EPOCHS[0].record, identities=[], packages=[package])
    assert keys.missing_groups == ("police",)


def test_a_release_of_everything_has_the_scene() -> None:
    package = open_package(release(None), POLICE)
    assert package.tracks is None
    everything = of_track(1) | of_track(2) | {(EntryKind.SCENE, 1), (EntryKind.SCENE, 2)}
    assert opened_with(package, POLICE) == [everything] * 3
    keys = open_epoch(EPOCHS[0].record, identities=[POLICE], packages=[package])
    assert keys.opens_everything and keys.opened_by == ("police",)
    # not S itself: a track that was not there stays closed
    assert keys.key_for(EntryKind.FACE, 3) is None


def test_a_disclosure_from_a_release() -> None:
    package = open_package(release(), POLICE)
    keys = [open_epoch(e.record, identities=[POLICE], packages=[package]) for e in EPOCHS]
    made = open_package(make_disclosure(keys, 2, purpose(POLICE, LAWYER)), LAWYER)
    assert opened_with(made) == [of_track(2)] * 3
    with pytest.raises(NothingOpened):
        make_disclosure(keys, 1, purpose(POLICE, LAWYER))


def test_no_more_is_handed_on_than_is_there() -> None:
    first = EPOCHS[0].record.epoch_id
    package = open_package(release((2, 9)), POLICE)
    assert package.secret(first, EPOCHS[0].record.context, "dpo", 9) is None
    keys = [open_epoch(epoch.record, identities=[DPO]) for epoch in EPOCHS]
    present = {first: (1,), EPOCHS[1].record.epoch_id: (2,)}
    made = make_release(keys, "dpo", (2,), purpose(DPO, POLICE), present=present)
    assert set(open_package(made, POLICE).epochs) == {EPOCHS[1].record.epoch_id}
    for group, tracks in (("dpo", (9,)), ("police", (2,)), ("nobody", (2,))):
        with pytest.raises(NothingOpened):
            make_release(keys, group, tracks, purpose(DPO, POLICE), present=PRESENT)


def test_what_does_not_open_is_left_out() -> None:
    alone = [open_epoch(epoch.record, identities=[DPO]) for epoch in EPOCHS]
    with pytest.raises(NothingOpened, match="keys and clip do not fit"):
        make_disclosure(alone, 2, purpose(DPO, LAWYER))
    both = open_epoch(EPOCHS[1].record, identities=[DPO, POLICE])
    package = open_package(make_disclosure([alone[0], both], 2, purpose(DPO, LAWYER)), LAWYER)
    assert opened_with(package) == [set(), of_track(2), set()]


def test_a_package_is_of_its_clip() -> None:
    package = open_package(disclosure(), LAWYER)
    moved = replace(EPOCHS[0], record=replace(EPOCHS[0].record, camera="another"))
    assert opened_with(package, epochs=[OTHER, moved]) == [set(), set()]
    keys = open_epoch(moved.record, identities=[], packages=[package])
    assert keys.missing_groups == ("dpo", "police")


def test_it_is_for_its_receiver_alone() -> None:
    for data in (disclosure(), release()):
        for other in (STRANGER, DPO):
            with pytest.raises(KeyRefused, match="made for others"):
                open_package(data, other)


def test_a_flipped_byte_anywhere_is_refused() -> None:
    data = disclosure()
    for at in range(len(data)):
        flipped = data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]
        with pytest.raises(VaultError):
            open_package(flipped, LAWYER)
    for end in (0, 1, 100, len(data) - 1):
        with pytest.raises(VaultError):
            open_package(data[:end], LAWYER)
    with pytest.raises(VaultError):
        open_package(data + b"\0", LAWYER)


# --- what is inside: whoever has the receiver's public key can make up anything ---


def inside(data: bytes, receiver: Identity) -> dict[str, Any]:
    plain = receiver.open(data)
    fields: dict[str, Any] = json.loads(plain[len(MAGIC) + 4 : -64])
    return fields


def packed(content: bytes, *, by: Identity = DPO) -> bytes:
    length = len(content).to_bytes(4, "big")
    signature = officer_key(by).sign(SIGNATURE_LABEL + length + content)
    return wrap_for(MAGIC + length + content + signature, [LAWYER.recipient])


def test_made_up_again_it_opens() -> None:
    fields = inside(disclosure(), LAWYER)
    assert opened_with(open_package(packed(json.dumps(fields).encode()), LAWYER))[0] == of_track(2)


def test_anothers_signature_is_refused() -> None:
    content = json.dumps(inside(disclosure(), LAWYER)).encode()
    with pytest.raises(RecordError, match="signature is not its maker's"):
        open_package(packed(content, by=STRANGER), LAWYER)
    plain = bytearray(LAWYER.open(packed(content)))
    for at in (0, len(MAGIC) + 3, len(MAGIC) + 40, len(plain) - 1):
        changed = bytes(plain[:at]) + bytes((plain[at] ^ 1,)) + bytes(plain[at + 1 :])
        with pytest.raises(RecordError):
            open_package(wrap_for(changed, [LAWYER.recipient]), LAWYER)


Change = Callable[[dict[str, Any]], object]
BROKEN: dict[str, Change] = {
    "no case": lambda f: f.pop("case"),
    "a number for a text": lambda f: f.update(case=5),
    "another kind": lambda f: f.update(what="key"),
    "no key": lambda f: f.update(maker="ssh-rsa AAAA"),
    "a short key": lambda f: f.update(maker="ssh-ed25519 AAAA"),
    "tracks that are none": lambda f: f.update(tracks=[True]),
    "the scene as a track": lambda f: f.update(tracks=[SCENE_TRACK]),
    "epochs that are none": lambda f: f.update(epochs={}),
    "an epoch twice": lambda f: f["epochs"].append(f["epochs"][0]),
    "a short id": lambda f: f["epochs"][0].update(id="00"),
    "no hex": lambda f: f["epochs"][0].update(context="x" * 64),
    "no groups": lambda f: f["epochs"][0].update(groups={}),
    "groups that are a list": lambda f: f["epochs"][0].update(groups=[1]),
    "a short secret": lambda f: f["epochs"][0]["groups"]["dpo"].update({"2": "00"}),
    "a secret that is none": lambda f: f["epochs"][0]["groups"]["dpo"].update({"2": None}),
    "a track that is none": lambda f: f["epochs"][0]["groups"]["dpo"].update({"x": "00" * 32}),
    "a track spelt oddly": lambda f: f["epochs"][0]["groups"]["dpo"].update({"02": "00" * 32}),
    "a huge track": lambda f: f["epochs"][0]["groups"]["dpo"].update({str(2**32): "00" * 32}),
}


@pytest.mark.parametrize("what", BROKEN)
def test_content_that_breaks_the_format(what: str) -> None:
    fields = inside(disclosure(), LAWYER)
    BROKEN[what](fields)
    with pytest.raises(RecordError, match="breaks the format"):
        open_package(packed(json.dumps(fields).encode()), LAWYER)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000, b"9" * 10_000, b"null"]
)
def test_content_that_is_no_package(content: bytes) -> None:
    with pytest.raises(RecordError):
        open_package(packed(content), LAWYER)


@given(data=st.binary(max_size=400), inner=st.booleans(), signed=st.booleans())
@settings(max_examples=150)
def test_bytes_from_anywhere(data: bytes, inner: bool, signed: bool) -> None:
    if signed:
        data = packed(data)
    elif inner:
        data = wrap_for(MAGIC + data, [LAWYER.recipient])
    with pytest.raises(VaultError) as caught:
        open_package(data, LAWYER)
    assert "\n" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    package = open_package(disclosure(), LAWYER)
    record = EPOCHS[0].record
    secret = package.secret(record.epoch_id, record.context, "dpo", 2)
    assert secret is not None
    shown = repr(package) + repr(package.epochs[record.epoch_id])
    assert repr(secret)[2:-1] not in shown and secret.hex() not in shown
    assert "AGE-SECRET" not in repr(purpose(DPO, LAWYER))


@pytest.mark.parametrize(
    "content",
    [
        b'{"epochs":[' + b",".join([b"[]"] * 300_000) + b"]}",
        b"[" * 300_000,
        b"{" + b",".join([b'"a":1'] * 300_000) + b"}",
    ],
)
def test_content_of_many_small_things_is_not_parsed(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be an object of Python's, a hundred times as large."""
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(RecordError, match="more in it"):
        open_package(packed(content), LAWYER)


def test_a_day_of_short_epochs_is_not_too_much() -> None:
    fields = inside(release(), POLICE)
    (first, *_) = fields["epochs"]
    epoch = first | {"groups": {"a": {"1": "00" * 32}}}
    fields["epochs"] = [epoch | {"id": f"{number:032x}"} for number in range(86_400)]
    content = json.dumps(fields, separators=(",", ":")).encode()
    assert len(open_package(packed(content), LAWYER).epochs) == 86_400


def test_tracks_without_end_are_refused() -> None:
    fields = inside(disclosure(), LAWYER)
    fields["tracks"] = list(range(4096))
    assert len(open_package(packed(json.dumps(fields).encode()), LAWYER).tracks or ()) == 4096
    fields["tracks"] = list(range(4097))
    with pytest.raises(RecordError, match="breaks the format"):
        open_package(packed(json.dumps(fields).encode()), LAWYER)
