"""Splitting here, putting together by PyCryptodome."""

from __future__ import annotations

import os
from itertools import combinations

import pytest
from Crypto.Protocol import SecretSharing
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import VaultError
from pipeline.vault import threshold as module
from pipeline.vault.threshold import combine, split


@settings(max_examples=30)
@given(st.binary(min_size=16, max_size=16), st.integers(1, 5), st.integers(0, 3))
def test_enough_shares_give_it_back(secret: bytes, needed: int, more: int) -> None:
    shares = {
        share[0]: bytes(share[1:]) for share in split(bytearray(secret), needed, needed + more)
    }
    assert sorted(shares) == list(range(1, needed + more + 1))
    for chosen in combinations(shares, needed):
        assert combine({index: shares[index] for index in chosen}) == secret
    if needed > 1:
        assert combine({1: shares[1]}) != secret or shares[1] == secret


def test_it_splits_as_pycryptodome_does(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = os.urandom(16)
    drawn = [os.urandom(16) for _ in range(4)]
    ours, theirs = iter(drawn), iter(drawn)
    monkeypatch.setattr(module, "random_secret", lambda _: bytearray(next(ours)))
    monkeypatch.setattr(SecretSharing, "rng", lambda _: next(theirs))
    expected = SecretSharing.Shamir.split(5, 255, secret)
    made = [(share[0], bytes(share[1:])) for share in split(bytearray(secret), 5, 255)]
    assert made == expected


def test_the_secret_itself_is_left_alone_and_no_share_is_it() -> None:
    secret = bytearray(os.urandom(16))
    before = bytes(secret)
    shares = split(secret, 2, 3)
    assert secret == before and all(bytes(share[1:]) != before for share in shares)


@pytest.mark.parametrize(
    ("size", "needed", "count"), [(15, 2, 3), (16, 0, 3), (16, 4, 3), (16, 2, 256)]
)
def test_what_makes_no_sense(size: int, needed: int, count: int) -> None:
    with pytest.raises(VaultError, match="cannot be shared"):
        split(bytearray(size), needed, count)


def test_what_are_no_shares() -> None:
    with pytest.raises(VaultError, match="no shares"):
        combine({1: b"short", 2: bytes(16)})
