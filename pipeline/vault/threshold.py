"""Shamir's scheme over GF(2^128) for 16-byte secrets, as PyCryptodome has it.

PyCryptodome puts shares together. It also splits, but with Python's integers, which nobody can
overwrite: the last secret and shares were found in the memory of a process that had done so. So
splitting is done here, byte by byte in memory that is overwritten; tests hold it to PyCryptodome's.
"""

from __future__ import annotations

from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir

from ..errors import VaultError
from .epoch_keys import SHARED_BYTES
from .memory import random_secret, wipe

MOST_SHARES = 255  # the index is a byte
_REDUCE = 0x87  # x^128 = x^7 + x^2 + x + 1


def split(secret: bytearray, threshold: int, count: int) -> list[bytearray]:
    """`count` shares of `secret` (16,), each (17,): index from 1 on, and value. To be wiped.

    Raises VaultError for numbers that make no sense.
    """
    if len(secret) != SHARED_BYTES or not 1 <= threshold <= count <= MOST_SHARES:
        raise VaultError(f"a secret cannot be shared {threshold} of {count}")
    # of a polynomial, the highest first; the secret is its value at 0
    coefficients = [random_secret(SHARED_BYTES) for _ in range(threshold - 1)]
    try:
        return [_share(index, coefficients, secret) for index in range(1, count + 1)]
    finally:
        for coefficient in coefficients:
            wipe(coefficient)


def combine(shares: Mapping[int, bytes]) -> bytes:
    """(16,) The secret of exactly as many shares, index to value, as the threshold asks for.

    From wrong ones comes something else: nothing here tells. Raises VaultError for what are no
    shares.
    """
    try:
        return Shamir.combine(list(shares.items()))
    except ValueError:
        raise VaultError("these are no shares of one secret") from None


def _share(index: int, coefficients: list[bytearray], secret: bytearray) -> bytearray:
    value = bytearray(SHARED_BYTES)
    for coefficient in (*coefficients, secret):  # Horner
        _multiply(value, index)
        _add(value, coefficient)
    share = bytearray(1 + SHARED_BYTES)
    share[0] = index
    share[1:] = value  # from a bytearray: anything else would be copied on the way
    wipe(value)
    return share


def _multiply(value: bytearray, index: int) -> None:
    """In place, in the field; `index` is small."""
    product = bytearray(SHARED_BYTES)
    for bit in reversed(range(index.bit_length())):
        carry = 0
        for at in reversed(range(SHARED_BYTES)):
            byte = product[at]
            product[at] = (byte << 1 & 0xFF) | carry
            carry = byte >> 7
        product[-1] ^= _REDUCE * carry
        if index >> bit & 1:
            _add(product, value)
    value[:] = product
    wipe(product)


def _add(value: bytearray, other: bytearray) -> None:
    for at in range(SHARED_BYTES):
        value[at] ^= other[at]
