"""Records made up to cost, by whoever has only public keys, cost little; real ones all open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pyrage
import pytest

from pipeline.evidence.key_record import KeyGroup, KeyRecord
from pipeline.vault import effort, opening, threshold
from pipeline.vault.age_file import age_file
from pipeline.vault.effort import Effort
from pipeline.vault.identity import Identity, Recipient, wrap_for
from pipeline.vault.opening import open_epoch
from support.people import group_of, people, sealed_epoch


class Tried:
    """What was done with age files and shares."""

    files = 0
    choices = 0


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tried]:
    done = Tried()
    decrypt, combine = pyrage.decrypt, threshold.combine

    def counted_decrypt(*given: object) -> object:
        done.files += 1
        return decrypt(*given)

    def counted_combine(shares: dict[int, bytes]) -> bytes:
        done.choices += 1
        return combine(shares)

    monkeypatch.setattr(pyrage, "decrypt", counted_decrypt)
    monkeypatch.setattr(opening, "combine", counted_combine)
    yield done


def hostile(victims: list[Recipient], *, groups: int, files: int, threshold: int) -> KeyRecord:
    """Each file opens for one of the victims, and no share is worth anything."""
    made = []
    for number in range(groups):
        shares = (bytearray(bytes([at + 1]) + os.urandom(16)) for at in range(files))
        sealed = [age_file(share, [victims[at % len(victims)]]) for at, share in enumerate(shares)]
        made.append(KeyGroup(f"g{number:02}", threshold, bytes(32), tuple(sealed), bytes(48)))
    (someone,) = people(1)
    return replace(sealed_epoch(group_of("g", [someone])).record, groups=tuple(made))


def test_one_key_gives_one_share_of_a_group(tried: Tried) -> None:
    (victim,) = people(1)
    record = hostile([victim.recipient], groups=16, files=12, threshold=8)
    assert not open_epoch(record, identities=[victim]).opened_by
    assert tried.files == 16 and tried.choices == 0


def test_choices_of_shares_are_bounded_in_a_record(tried: Tried) -> None:
    victims = people(8)
    record = hostile([one.recipient for one in victims], groups=16, files=8, threshold=4)
    assert not open_epoch(record, identities=victims).opened_by
    most = 8 * effort.MOST_STEPS_FOR_ONE // (4 * 1_500_000)
    assert 70 <= tried.choices <= most < 16 * 70


def test_a_file_that_is_longer_than_any_service_makes_is_not_tried(tried: Tried) -> None:
    (officer,) = people(1)
    record = sealed_epoch(group_of("dpo", [officer])).record
    long = wrap_for(bytes(32), [people(1)[0].recipient] * 300)
    record = replace(record, groups=(replace(record.groups[0], age_files=(long,)),))
    assert not open_epoch(record, identities=[officer]).opened_by
    assert tried.files == 0


def test_a_key_is_looked_for_first_where_it_was(tried: Tried) -> None:
    members = people(9)
    shared = Effort()
    for _ in range(3):
        record = sealed_epoch(group_of("police", members, 2)).record
        before = tried.files
        keys = open_epoch(record, identities=members[-2:], effort=shared)
        assert keys.opened_by == ("police",)
    assert tried.files - before == 2


def test_when_too_much_has_failed_what_opens_still_does(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dpo, stranger), members = people(2), people(5)
    identities: list[Identity] = [dpo, *members[3:]]

    def record() -> KeyRecord:
        groups = group_of("dpo", [dpo]), group_of("police", members, 2)
        return sealed_epoch(*groups, group_of("third", [stranger])).record

    monkeypatch.setattr(effort, "MOST_FAILED_STEPS", 20_000_000)
    shared, needed = Effort(), []
    for _ in range(20):
        before = tried.files
        keys = open_epoch(record(), identities=identities, effort=shared)
        assert keys.opened_by == ("dpo", "police")
        needed.append(tried.files - before)
    assert needed[0] > needed[1] > needed[-1] == 3


@pytest.mark.parametrize("threshold", [2, 8])
def test_groups_of_64_keys_open(threshold: int, tried: Tried) -> None:
    members, (dpo,) = people(64), people(1)
    record = sealed_epoch(group_of("a", members, threshold), group_of("dpo", [dpo])).record
    keys = open_epoch(record, identities=[*members[-threshold:], dpo])
    assert keys.opened_by == ("a", "dpo") and tried.choices == 1
    one = sealed_epoch(*(group_of(f"g{at}", members) for at in range(2))).record
    assert open_epoch(one, identities=[members[63]]).opened_by == ("g0", "g1")
