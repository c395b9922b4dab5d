"""From key material to the secrets of one fused face (PRO-Face S, section IV-A, made sound).

The paper stretches a password with PBKDF2, ten iterations and a fixed salt, into one map. Here an
extendable-output function (SHAKE-256) stretches 32 bytes, and every face of every keyframe has 32
bytes of its own (`face_key`): two pictures under one secret would help whoever attacks them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from numpy.typing import NDArray

from engines.fusion import FaceSecrets, FusionSpec

KEY_BYTES = 32
SALT_BYTES = 16
PBKDF2_ITERATIONS = 600_000  # OWASP's figure for PBKDF2-HMAC-SHA256 (2023)

# Labels bind a key to its purpose and version; they never change with the code's names.
_FACE_LABEL = b"bauta/v1/in-band face"
_MAP_LABEL = b"bauta/v1/in-band map"
_SCRAMBLE_LABEL = b"bauta/v1/in-band scramble"


def key_from_password(password: str, salt: bytes) -> bytes:
    """The paper's password mode with a modern work factor. (KEY_BYTES,)

    `salt` must be SALT_BYTES of fresh randomness, kept beside the clip. Raises ValueError.
    """
    if not password:
        raise ValueError("the password is empty")
    if len(salt) != SALT_BYTES:
        raise ValueError(f"salt must be {SALT_BYTES} bytes, got {len(salt)}")
    return PBKDF2HMAC(hashes.SHA256(), KEY_BYTES, salt, PBKDF2_ITERATIONS).derive(
        password.encode("utf-8")
    )


def face_key(clip_key: bytes, frame_index: int, square_xys_px: tuple[int, int, int]) -> bytes:
    """The key of one face in one keyframe of a clip. (KEY_BYTES,)

    Bound to the frame and to the square's left, top and side: what a searcher without the sidecar
    tries out as well, and different for any two faces of a frame.
    """
    _check_key(clip_key)
    info = b"".join(
        [
            _FACE_LABEL,
            frame_index.to_bytes(8, "big"),
            *(v.to_bytes(4, "big") for v in square_xys_px),
        ]
    )
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(clip_key)


def face_secrets(keys: Sequence[bytes], spec: FusionSpec, size_px: tuple[int, int]) -> FaceSecrets:
    """The secrets of len(keys) faces of one (width, height), one key each.

    Raises ValueError where two faces share a key.
    """
    if len(set(keys)) != len(keys):
        raise ValueError("two faces share a key: each face of each keyframe needs its own")
    for key in keys:
        _check_key(key)
    width, height = size_px
    sign_map = order = signs = None
    if spec.keyed:
        sign_map = np.stack([_signs(key, _MAP_LABEL, (1, height, width)) for key in keys])
    if spec.scrambled:
        step = spec.layout.side_multiple_px
        shape = (spec.layout.channels, (height // step) * (width // step))
        pairs = [_scramble(key, shape) for key in keys]
        order = np.stack([first for first, _ in pairs])
        signs = np.stack([second for _, second in pairs])
    return FaceSecrets(sign_map, order, signs)


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key must be {KEY_BYTES} bytes, got {len(key)}")


def _signs(key: bytes, label: bytes, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Equation 5: as many independent -1 and 1 as `shape` holds."""
    count = int(np.prod(shape))
    stream = hashlib.shake_256(label + key).digest(-(-count // 8))
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=count)
    return (bits.astype(np.int8) * 2 - 1).reshape(shape)


def _scramble(key: bytes, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """(C, n) permutations, independent from band to band, and signs."""
    count = shape[0] * shape[1]
    stream = hashlib.shake_256(_SCRAMBLE_LABEL + key).digest(4 * count)
    # Sorting random words permutes. Two equal words keep their order: at 784 coefficients a band
    # that happens to one pair in 14,000 bands, and tells nothing.
    words = np.frombuffer(stream, ">u4").reshape(shape)
    return np.argsort(words, axis=1, kind="stable"), _signs(key, _SCRAMBLE_LABEL + b" signs", shape)
