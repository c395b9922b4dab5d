"""Who opens what of an epoch: one key of each group, or as many as a threshold says."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from pipeline.evidence.group_record import SCENE_TRACK, EntryKind
from pipeline.evidence.key_record import KeyRecord
from pipeline.vault.identity import wrap_for
from pipeline.vault.opening import EpochKeys, open_epoch
from support.people import SealedEpoch, group_of, people, sealed_epoch


def opens_all(keys: EpochKeys, epoch: SealedEpoch) -> bool:
    """All or nothing, and what opens is what the service had."""
    found = {entry: keys.key_for(*entry) for entry in epoch.keys}
    if not any(found.values()):
        return False
    assert found == epoch.keys
    return True


def with_group(record: KeyRecord, index: int, **changes: object) -> KeyRecord:
    groups = list(record.groups)
    groups[index] = replace(groups[index], **changes)  # type: ignore[arg-type]
    return replace(record, groups=tuple(groups))


def test_one_group_opens_with_any_of_its_keys() -> None:
    first, second, stranger = people(3)
    epoch = sealed_epoch(group_of("dpo", [first, second]))
    for officer in (first, second):
        keys = open_epoch(epoch.record, identities=[stranger, officer])
        assert opens_all(keys, epoch)
        assert keys.opened_by == ("dpo",) and keys.missing_groups == ()
        assert keys.opens_everything and keys.opens_track(1)
        assert keys.used == {officer.recipient.public}
        assert keys.key_for(EntryKind.SCENE, 1) == keys.key_for(EntryKind.SCENE, 999)


def test_a_wrong_key_opens_nothing() -> None:
    officer, stranger = people(2)
    epoch = sealed_epoch(group_of("dpo", [officer]))
    for identities in ([], [stranger]):
        keys = open_epoch(epoch.record, identities=identities)
        assert not opens_all(keys, epoch)
        assert keys.opened_by == () and keys.missing_groups == ("dpo",)
        assert not keys.opens_everything and not keys.opens_track(1) and not keys.used


def test_of_two_groups_one_alone_gets_nothing() -> None:
    dpo, police = people(2)
    epoch = sealed_epoch(group_of("dpo", [dpo]), group_of("police", [police]))
    for alone, opened, missing in ((dpo, "dpo", "police"), (police, "police", "dpo")):
        keys = open_epoch(epoch.record, identities=[alone])
        assert not opens_all(keys, epoch) and not keys.opens_everything
        assert keys.opened_by == (opened,) and keys.missing_groups == (missing,)
    for order in ([dpo, police], [police, dpo]):
        keys = open_epoch(epoch.record, identities=order)
        assert opens_all(keys, epoch) and keys.opens_everything
        assert keys.opened_by == ("dpo", "police")


def test_one_key_in_both_groups_opens_both() -> None:
    (both,) = people(1)
    epoch = sealed_epoch(group_of("a", [both]), group_of("b", [both]))
    assert opens_all(open_epoch(epoch.record, identities=[both]), epoch)


def test_a_threshold_needs_as_many_as_it_says() -> None:
    members = people(3)
    epoch = sealed_epoch(group_of("police", members, 2))
    for pair in combinations(members, 2):
        keys = open_epoch(epoch.record, identities=pair)
        assert opens_all(keys, epoch)
        assert keys.used == {member.recipient.public for member in pair}
    assert opens_all(open_epoch(epoch.record, identities=members), epoch)
    for member in members:
        for identities in ([member], [member, member], [member, *people(1)]):
            keys = open_epoch(epoch.record, identities=identities)
            assert not opens_all(keys, epoch)
            assert keys.missing_groups == ("police",) and not keys.used


def test_a_threshold_beside_another_group() -> None:
    members, (dpo,) = people(3), people(1)
    epoch = sealed_epoch(group_of("dpo", [dpo]), group_of("police", members, 3))
    assert opens_all(open_epoch(epoch.record, identities=[dpo, *members]), epoch)
    keys = open_epoch(epoch.record, identities=[dpo, *members[:2]])
    assert not opens_all(keys, epoch) and keys.missing_groups == ("police",)


@pytest.mark.parametrize(
    "bad", [b"\x02" + bytes(16), b"\x00" + bytes(16), b"\x01" + bytes(16), bytes(32), b"", b"\x02"]
)
def test_a_bad_share_opens_nothing_and_hinders_nobody_else(bad: bytes) -> None:
    members = people(3)
    epoch = sealed_epoch(group_of("police", members, 2))
    files = list(epoch.record.groups[0].age_files)
    files[1] = wrap_for(bad, [members[1].recipient])
    record = with_group(epoch.record, 0, age_files=tuple(files))
    for pair in (members[:2], members[1:]):
        assert open_epoch(record, identities=pair).missing_groups == ("police",)
    for rest in ([members[0], members[2]], members):
        keys = open_epoch(record, identities=rest)
        whole = open_epoch(epoch.record, identities=members)
        assert keys.group_secrets == whole.group_secrets and keys.opened_by == ("police",)
        assert keys.used == {members[0].recipient.public, members[2].recipient.public}


@pytest.mark.parametrize("threshold", [1, 2])
def test_an_altered_commitment_opens_nothing(threshold: int) -> None:
    members = people(2)
    epoch = sealed_epoch(group_of("police", members, threshold))
    group = epoch.record.groups[0]
    altered = group.commitment[:-1] + bytes((group.commitment[-1] ^ 1,))
    keys = open_epoch(with_group(epoch.record, 0, commitment=altered), identities=members)
    assert not opens_all(keys, epoch) and keys.missing_groups == ("police",)


def test_another_epochs_secret_is_told() -> None:
    """What opens is not yet what belongs there: neither age nor the cipher says so."""
    (officer,) = people(1)
    one, other = (sealed_epoch(group_of("dpo", [officer])) for _ in range(2))
    record = with_group(one.record, 0, age_files=other.record.groups[0].age_files)
    assert open_epoch(record, identities=[officer]).missing_groups == ("dpo",)
    # and the same under another epoch's id or group's name
    moved = replace(one.record, epoch_id=bytes(16))
    assert open_epoch(moved, identities=[officer]).missing_groups == ("dpo",)
    renamed = with_group(one.record, 0, name="police")
    assert open_epoch(renamed, identities=[officer]).missing_groups == ("police",)


@pytest.mark.parametrize("file", [b"", b"age-encryption.org/v1\n", bytes(300)])
def test_damaged_age_files_are_not_there(file: bytes) -> None:
    (officer,) = people(1)
    epoch = sealed_epoch(group_of("dpo", [officer]))
    record = with_group(epoch.record, 0, age_files=(file,))
    assert open_epoch(record, identities=[officer]).missing_groups == ("dpo",)


def test_an_altered_sealed_secret_opens_nothing() -> None:
    members = people(2)
    epoch = sealed_epoch(group_of("police", members, 2))
    behind = epoch.record.groups[0].sealed_secret
    assert behind is not None
    record = with_group(epoch.record, 0, sealed_secret=bytes((behind[0] ^ 1,)) + behind[1:])
    assert open_epoch(record, identities=members).missing_groups == ("police",)


def test_secrets_are_not_shown() -> None:
    (officer,) = people(1)
    epoch = sealed_epoch(group_of("dpo", [officer]))
    keys = open_epoch(epoch.record, identities=[officer])
    secret = keys.secret_for("dpo", SCENE_TRACK)
    assert secret is not None and keys.secret_for("police", 1) is None
    for value in (secret, *keys.group_secrets.values()):
        assert repr(value)[2:-1] not in repr(keys)
