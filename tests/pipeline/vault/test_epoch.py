"""The service's side: for whom an epoch is sealed, what is derived, and that it ends."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from pipeline.errors import VaultError
from pipeline.evidence.group_record import EntryKind
from pipeline.vault.age_file import age_file, is_usable
from pipeline.vault.epoch import EpochSecrets, RecipientGroup
from pipeline.vault.epoch_keys import commitment, entry_key, track_secret
from pipeline.vault.identity import Identity, Recipient
from pipeline.vault.memory import random_secret, wipe
from support.people import group_of, people

EPOCH, CONTEXT = bytes(range(16)), bytes(range(32, 64))
SCENE = 2**32 - 1


def pieces(secret: bytes, name: str, track: int) -> bytes:
    return track_secret(secret, EPOCH, CONTEXT, name, track)


def bound(*groups: RecipientGroup) -> EpochSecrets:
    secrets = EpochSecrets(EPOCH, groups)
    secrets.bind(CONTEXT)
    return secrets


def test_its_keys_are_those_of_the_format() -> None:
    dpo, police = people(2)
    secrets = bound(group_of("police", [police]), group_of("dpo", [dpo]))
    first, second = secrets.key_groups
    assert (first.name, second.name) == ("dpo", "police")
    s_dpo, s_police = dpo.open(first.age_files[0]), police.open(second.age_files[0])
    assert len(s_dpo) == len(s_police) == 32 and s_dpo != s_police
    assert first.commitment == commitment(s_dpo, EPOCH, "dpo")
    for kind in (EntryKind.FACE, EntryKind.MOTION):
        parts = [pieces(s_dpo, "dpo", 5), pieces(s_police, "police", 5)]
        assert secrets.key_for(kind, 5) == entry_key(parts, EPOCH, kind)
    parts = [pieces(s_dpo, "dpo", SCENE), pieces(s_police, "police", SCENE)]
    expected = entry_key(parts, EPOCH, EntryKind.SCENE)
    assert secrets.key_for(EntryKind.SCENE, 5) == secrets.key_for(EntryKind.SCENE, 6) == expected
    assert len({secrets.key_for(kind, t) for kind in EntryKind for t in (5, 6)}) == 5


def test_no_two_epochs_are_alike() -> None:
    dpo = people(1)
    keys = {bound(group_of("dpo", dpo)).key_for(EntryKind.FACE, 1) for _ in range(20)}
    assert len(keys) == 20


def test_before_it_is_bound_to_its_key_record_nothing_is_sealed() -> None:
    secrets = EpochSecrets(EPOCH, [group_of("dpo", people(1))])
    with pytest.raises(VaultError, match="not bound"):
        secrets.key_for(EntryKind.FACE, 1)


def test_after_the_end_nothing_is_sealed() -> None:
    secrets = bound(group_of("dpo", people(1)))
    held = secrets.key_for(EntryKind.FACE, 1)
    assert any(held)
    secrets.wipe()
    secrets.wipe()
    assert held == bytes(32)  # overwritten where it is, whoever holds it
    with pytest.raises(VaultError, match="epoch has ended"):
        secrets.key_for(EntryKind.FACE, 1)


def test_secrets_are_not_shown() -> None:
    dpo = people(1)
    secrets = EpochSecrets(EPOCH, [group_of("dpo", dpo)])
    secret = dpo[0].open(secrets.key_groups[0].age_files[0])
    shown = f"{secrets!r} {secrets} {secrets.key_groups!r}"
    assert secret.hex() not in shown and repr(secret)[2:-1] not in shown


def one(name: str, keys: Sequence[Identity], threshold: int = 1) -> list[RecipientGroup]:
    return [group_of(name, keys, threshold)]


def test_recipients_that_cannot_be_used() -> None:
    a, b, c = people(3)
    wrong = {
        "no keys": one("dpo", []),
        "too few": one("dpo", [a], 2),
        "the same twice": one("dpo", [a, a], 2),
        "none needed": one("dpo", [a], 0),
        "too many": one("dpo", people(65)),
        "one of two groups": [*one("a", [a, b], 2), *one("b", [c, c], 2)],
    }
    for what, groups in wrong.items():
        with pytest.raises(VaultError, match=r"^recipients\.\w+: .* nobody could open"):
            EpochSecrets(EPOCH, groups)
            raise AssertionError(what)
    for groups in ([], one("a", [a]) + one("a", [b])):
        with pytest.raises(VaultError, match="needs groups of recipients"):
            EpochSecrets(EPOCH, groups)
    with pytest.raises(VaultError, match="wrong size"):
        EpochSecrets(EPOCH[:-1], one("dpo", [a]))


def small_order() -> Recipient:
    """The point 0, its checksum put right: whatever is sealed for it, everybody could open."""
    charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    values = [ord(c) >> 5 for c in "age"] + [0] + [ord(c) & 31 for c in "age"] + [0] * (52 + 6)
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(
            (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
        ):
            check ^= generator if top >> bit & 1 else 0
    check ^= 1
    tail = "".join(charset[check >> 5 * (5 - at) & 31] for at in range(6))
    return Recipient("age1" + "q" * 52 + tail)


def test_a_key_for_which_nothing_is_secret_does_not_count() -> None:
    (dpo,) = people(1)
    nobody = small_order()
    assert is_usable(dpo.recipient) and not is_usable(nobody)
    with pytest.raises(VaultError, match="nobody could open"):
        EpochSecrets(EPOCH, [RecipientGroup("dpo", 1, (nobody,))])
    with pytest.raises(VaultError, match="cannot be used as a recipient"):
        age_file(bytearray(32), [nobody])
    secrets = EpochSecrets(EPOCH, [RecipientGroup("dpo", 1, (nobody, dpo.recipient))])
    assert len(dpo.open(secrets.key_groups[0].age_files[0])) == 32


@pytest.mark.parametrize("size", [1, 16, 17, 32, 1000, 65_536])
def test_age_files_are_those_that_pyrage_reads(size: int) -> None:
    a, b, c = people(3)
    secret = random_secret(size)
    sealed = age_file(secret, [a.recipient, b.recipient])
    assert a.open(sealed) == b.open(sealed) == secret
    with pytest.raises(VaultError, match="sealed for others"):
        c.open(sealed)
    for at in range(0, len(sealed), max(len(sealed) // 40, 1)):
        flipped = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
        with pytest.raises(VaultError):
            a.open(flipped)


def test_age_files_without_sense() -> None:
    for secret, keys in ((bytearray(32), []), (bytearray(65_537), people(1))):
        with pytest.raises(VaultError, match="needs recipients and a short secret"):
            age_file(secret, [key.recipient for key in keys])


def test_memory_is_overwritten_in_place() -> None:
    changed, constant = random_secret(40), os.urandom(40)
    assert any(changed) and len(changed) == 40
    view = memoryview(changed)
    for secret in (changed, constant):
        wipe(secret)
        assert secret == bytes(40)
    assert view.tobytes() == bytes(40)
    for nothing in (b"", b"\x07", bytearray()):
        before = bytes(nothing)
        wipe(nothing)
        assert nothing == before  # one object for the whole process
