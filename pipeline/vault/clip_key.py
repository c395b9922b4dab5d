"""The key of one session's in-band faces: random or from a password, and who can have it back.

In the service it lives in memory only. What is written down is sealed for public keys, or can be
made again from the password and its salt.
"""

from __future__ import annotations

import secrets as random_bytes
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import KeyRefused
from .identity import Identity, Recipient, wrap_for
from .secret_map import KEY_BYTES, SALT_BYTES, key_from_password

# Labels bind a derived value to its purpose and version; they never change with the code's names.
_COMMITMENT_LABEL = b"bauta/v1/in-band commitment"
_SIDECAR_LABEL = b"bauta/v1/in-band sidecar"
_MOTION_LABEL = b"bauta/v1/in-band motion"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a sidecar says about its clip key: nothing of it, but how to get it."""

    commitment: bytes  # tells a right key from a wrong one, and nothing else
    salt: bytes | None  # of the password mode
    recipients: tuple[str, ...]  # public keys that it is sealed for
    sealed: bytes | None = field(repr=False)  # an age file


@dataclass(frozen=True, slots=True)
class ClipKey:
    """32 secret bytes. A face's key is derived from them (`secret_map.face_key`)."""

    key: bytes = field(repr=False)
    salt: bytes | None
    recipients: tuple[Recipient, ...]

    @property
    def can_be_had_again(self) -> bool:
        """False: nobody will ever open these faces."""
        return self.salt is not None or bool(self.recipients)

    def record(self) -> KeyRecord:
        """For the sidecar; sealed anew with every call."""
        sealed = wrap_for(self.key, list(self.recipients)) if self.recipients else None
        names = tuple(recipient.public for recipient in self.recipients)
        return KeyRecord(commitment(self.key), self.salt, names, sealed)


def new_clip_key(recipients: Sequence[Recipient] = (), password: str | None = None) -> ClipKey:
    """A fresh key: random, or of a password under a fresh salt. Takes half a second then."""
    if password is None:
        return ClipKey(random_bytes.token_bytes(KEY_BYTES), None, tuple(recipients))
    salt = random_bytes.token_bytes(SALT_BYTES)
    return ClipKey(key_from_password(password, salt), salt, tuple(recipients))


def open_with_identity(record: KeyRecord, identity: Identity) -> bytes:
    """The clip key. Raises KeyRefused."""
    if record.sealed is None:
        raise KeyRefused("the clip is sealed for no key; it was protected with a password")
    return _checked(identity.open(record.sealed), record, "this key opens another clip's record")


def open_with_password(record: KeyRecord, password: str) -> bytes:
    """The clip key. Raises KeyRefused."""
    if record.salt is None:
        raise KeyRefused("the clip was not protected with a password; give --key FILE")
    if not password:
        raise KeyRefused("wrong password: it is empty")
    return _checked(key_from_password(password, record.salt), record, "wrong password")


def commitment(clip_key: bytes) -> bytes:
    """(32,) Binds to the key without telling it: age and a password alone cannot say "wrong"."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=_COMMITMENT_LABEL).derive(clip_key)


def sidecar_mac_key(clip_key: bytes) -> bytes:
    """(32,) With it the sidecar's lines are bound to the key and to each other."""
    return HKDF(hashes.SHA256(), 32, salt=None, info=_SIDECAR_LABEL).derive(clip_key)


def sidecar_motion_key(clip_key: bytes, header_mac: bytes) -> bytes:
    """(32,) It seals the motions of the one sidecar whose header has this mac.

    Two sessions under one clip key would count their frames alike: they differ in their headers,
    and so no nonce is used twice with a key.
    """
    return HKDF(hashes.SHA256(), 32, salt=header_mac, info=_MOTION_LABEL).derive(clip_key)


def _checked(key: bytes, record: KeyRecord, refusal: str) -> bytes:
    if len(key) != KEY_BYTES or not constant_time.bytes_eq(commitment(key), record.commitment):
        raise KeyRefused(refusal)
    return key
