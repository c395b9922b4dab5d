from dataclasses import replace

import pyrage
import pytest

from pipeline.errors import KeyRefused
from pipeline.vault.clip_key import (
    commitment,
    new_clip_key,
    open_with_identity,
    open_with_password,
    sidecar_mac_key,
)
from pipeline.vault.identity import Identity, wrap_for


def identity() -> Identity:
    return Identity(str(pyrage.x25519.Identity.generate()))


def test_each_session_has_a_key_of_its_own() -> None:
    keys = {new_clip_key().key for _ in range(50)}
    assert len(keys) == 50 and {len(key) for key in keys} == {32}
    assert new_clip_key(password="same").key != new_clip_key(password="same").key  # fresh salt


def test_a_recipient_gets_it_back() -> None:
    one, other = identity(), identity()
    key = new_clip_key([one.recipient, other.recipient])
    record = key.record()
    assert open_with_identity(record, one) == open_with_identity(record, other) == key.key
    assert record.recipients == (one.recipient.public, other.recipient.public)
    assert key.can_be_had_again
    with pytest.raises(KeyRefused, match="sealed for others"):
        open_with_identity(record, identity())
    with pytest.raises(KeyRefused, match="not protected with a password"):
        open_with_password(record, "x")


def test_a_password_gets_it_back_and_a_wrong_one_is_told() -> None:
    key = new_clip_key(password="correct horse")
    assert open_with_password(key.record(), "correct horse") == key.key
    for wrong in ("correct hors", "Correct horse", "correct horse "):
        with pytest.raises(KeyRefused, match="wrong password"):
            open_with_password(key.record(), wrong)
    with pytest.raises(KeyRefused, match="it is empty"):
        open_with_password(key.record(), "")
    with pytest.raises(KeyRefused, match="protected with a password"):
        open_with_identity(key.record(), identity())


def test_both_ways_open_the_same() -> None:
    officer = identity()
    key = new_clip_key([officer.recipient], "correct horse")
    record = key.record()
    assert open_with_identity(record, officer) == open_with_password(record, "correct horse")


def test_a_record_with_another_clips_secret_is_told() -> None:
    officer = identity()
    record = new_clip_key([officer.recipient]).record()
    for sealed in (wrap_for(bytes(32), [officer.recipient]), wrap_for(b"", [officer.recipient])):
        with pytest.raises(KeyRefused, match="another clip"):
            open_with_identity(replace(record, sealed=sealed), officer)


def test_without_either_nobody_can() -> None:
    key = new_clip_key()
    assert not key.can_be_had_again
    assert key.record().sealed is None and key.record().salt is None


def test_keys_are_not_shown() -> None:
    key = new_clip_key(password="x")
    for shown in (repr(key), str(key), repr(key.record())):
        assert key.key.hex() not in shown and repr(key.key)[2:-1] not in shown


def test_what_is_derived_tells_nothing_of_the_other() -> None:
    key = bytes(range(32))
    derived = {commitment(key), sidecar_mac_key(key), key}
    assert len(derived) == 3
    # pinned: another value would orphan every sidecar written before
    assert commitment(key).hex().startswith("ee27bfef2ace7f8f")
    assert sidecar_mac_key(key).hex().startswith("ab4b4eb3e0ec1818")
