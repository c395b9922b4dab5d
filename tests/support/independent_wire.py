"""What the second reader of `bauta/1` is made of: fields, and keys. Nothing of pipeline."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pyrage
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Fields = dict[str, Any]


class Refused(Exception):
    """The bytes break the format."""


class KeyRefused(Exception):
    """An age file is for somebody else, or was altered."""


def need(holds: bool, what: str) -> None:
    if not holds:
        raise Refused(what)


class Bytes:
    """Fields off the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        need(self.at + count <= len(self.data), "cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def u(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> str:
        try:
            return self.take(self.u(1)).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("no UTF-8") from None

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def text(value: str) -> bytes:
    return struct.pack(">B", len(value.encode())) + value.encode()


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(secret)


def unzipped(data: bytes, size: int) -> bytes:
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data, size + 1)
    except zlib.error:
        raise Refused("zlib") from None
    need(len(found) == size and inflate.eof and not inflate.unused_data, "size of a zlib stream")
    return found


def is_signed(public: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def age_open(file: bytes, identity: str) -> bytes:
    try:
        opened: bytes = pyrage.decrypt(file, [pyrage.x25519.Identity.from_str(identity)])
    except pyrage.DecryptError:
        raise KeyRefused from None
    return opened
