"""What the makers of test vectors begin with: fixed bytes, age files that come out the same again,
and changes of bytes as lists.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.vault.identity import Identity
from pipeline.vault.key_files import key_bytes
from pipeline.vault.signing import SigningKey

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
Fields = dict[str, Any]
Change = tuple[int, int, str]
"""From which byte on, how many go, and what comes instead (hex)."""

_NEAR_BYTES = 8  # changes nearer than this are written as one


def load(name: str) -> Fields:
    """A file of vectors."""
    loaded: Fields = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def person(name: str) -> Identity:
    return Identity(load("identities")["people"][name]["secret"])


def signer(name: str) -> SigningKey:
    """A service's key."""
    seed = bytes.fromhex(load("identities")["services"][name]["seed"])
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


def seeded(label: str, count: int) -> bytes:
    """The same for the same label."""
    return hashlib.shake_256(b"bauta test vector: " + label.encode()).digest(count)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


# --- changes ---


def changes(old: bytes, new: bytes) -> list[Change]:
    """What makes `new` of `old`."""
    spans: list[list[int]] = []
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if spans and i - spans[-1][1] < _NEAR_BYTES:
            spans[-1][1], spans[-1][3] = j, m
        else:
            spans.append([i, j, k, m])
    return [(i, j - i, new[k:m].hex()) for i, j, k, m in spans]


def changed(data: bytes, some: Iterable[Sequence[Any]]) -> bytes:
    """The inverse: places count in the bytes as they were."""
    for at, count, put in sorted(map(tuple, some), reverse=True):
        data = data[:at] + bytes.fromhex(put) + data[at + count :]
    return data


# --- age files: fixed instead of random keys, else as age-encryption.org/v1 says ---


def age_file(plain: bytes, readers: Sequence[str], label: str) -> bytes:
    """For the people named."""
    file_key = seeded(f"{label}/file key", 16)
    header = b"age-encryption.org/v1\n"
    for reader in readers:
        header += _stanza(file_key, person(reader).recipient.public, f"{label}/{reader}")
    header += b"---"
    mac = hmac.HMAC(_hkdf(file_key, b"", b"header"), hashes.SHA256())
    mac.update(header)
    nonce = seeded(f"{label}/nonce", 16)
    payload_key = _hkdf(file_key, nonce, b"payload")
    sealed = ChaCha20Poly1305(payload_key).encrypt(bytes(11) + b"\1", plain, None)
    return header + b" " + _unpadded(mac.finalize()) + b"\n" + nonce + sealed


def _stanza(file_key: bytes, public: str, label: str) -> bytes:
    once, point = X25519PrivateKey.from_private_bytes(seeded(label, 32)), key_bytes(public)
    own = once.public_key().public_bytes_raw()
    shared = once.exchange(X25519PublicKey.from_public_bytes(point))
    key = _hkdf(shared, own + point, b"age-encryption.org/v1/X25519")
    body = ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)
    return b"-> X25519 " + _unpadded(own) + b"\n" + _unpadded(body) + b"\n"


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(secret)


def _unpadded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")
