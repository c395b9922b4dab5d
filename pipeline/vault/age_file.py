"""Age files (age-encryption.org/v1, X25519) written so that nothing of them stays in memory.

pyrage writes age files as well, and reads these. But what it sealed last stays in a freed buffer of
64 KiB and its key on the stack, for whoever gets hold of the service's memory after the epoch.
Here all keys are in memory that is overwritten, or in OpenSSL, which overwrites its own.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import VaultError
from .identity import Recipient
from .key_files import key_bytes
from .memory import random_secret, wipe, wiped

_VERSION = b"age-encryption.org/v1\n"
_FILE_KEY_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 16, 32
_WRAP_NONCE = bytes(12)
_ONLY_CHUNK = bytes(11) + b"\x01"  # number 0, and the last
MOST_BYTES = 64 * 1024  # of a chunk, and there is one


@lru_cache(maxsize=1024)
def is_usable(recipient: Recipient) -> bool:
    """False: a point of small order, for which every shared secret is zero."""
    try:
        wipe(X25519PrivateKey.generate().exchange(_point(recipient)))
    except ValueError:
        return False
    return True


def age_file(secret: bytearray, recipients: Sequence[Recipient]) -> bytes:
    """`secret`, which is not wiped, for each of the recipients. Raises VaultError."""
    if not recipients or len(secret) > MOST_BYTES:
        raise VaultError("an age file needs recipients and a short secret")
    file_key = random_secret(_FILE_KEY_BYTES)
    with wiped(file_key):
        stanzas = [_stanza(file_key, recipient) for recipient in recipients]
        header = _VERSION + b"".join(stanzas) + b"---"
        nonce = bytes(random_secret(_NONCE_BYTES))  # public
        content = _encrypted(file_key, nonce, b"payload", _ONLY_CHUNK, secret)
        return header + b" " + _base64(_mac(file_key, header)) + b"\n" + nonce + content


def _stanza(file_key: bytearray, recipient: Recipient) -> bytes:
    """The file key for one recipient; the text says nothing about who it is."""
    once, point = X25519PrivateKey.generate(), _point(recipient)
    public = once.public_key().public_bytes_raw()
    try:
        shared = once.exchange(point)
    except ValueError:
        raise VaultError(f"{recipient.public[:16]}… cannot be used as a recipient") from None
    with wiped(shared):
        salt, info = public + point.public_bytes_raw(), b"age-encryption.org/v1/X25519"
        body = _encrypted(shared, salt, info, _WRAP_NONCE, file_key)
    return b"-> X25519 " + _base64(public) + b"\n" + _base64(body) + b"\n"


def _encrypted(
    secret: bytearray | bytes, salt: bytes, info: bytes, nonce: bytes, plain: bytearray
) -> bytes:
    key = _derived(secret, salt, info)
    with wiped(key):
        return ChaCha20Poly1305(key).encrypt(nonce, plain, None)


def _mac(file_key: bytearray, header: bytes) -> bytes:
    key = _derived(file_key, b"", b"header")
    with wiped(key):
        mac = hmac.HMAC(key, hashes.SHA256())
        mac.update(header)
        return mac.finalize()


def _derived(secret: bytearray | bytes, salt: bytes, info: bytes) -> bytearray:
    """(32,) To be wiped."""
    key = bytearray(_KEY_BYTES)
    HKDF(hashes.SHA256(), _KEY_BYTES, salt=salt, info=info).derive_into(secret, key)
    return key


def _point(recipient: Recipient) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(key_bytes(recipient.public))


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")
