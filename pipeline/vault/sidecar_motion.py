"""The motions in a sidecar, sealed: how a face moved tells what it expressed, and what it said.

One text for all carried faces of a frame: base64 of ChaCha20-Poly1305 over one record per face,

    track (8 bytes), length (2 bytes), the motion as `motion.pack` has it, zeros

each filled up to a multiple of RECORD_BYTES, since packed motions grow with what they tell. In the
clear are the frame and its number, which the seal binds; the tracks are inside.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ..frames import CarriedFace, Motion
from ..motion import MOST_BYTES, pack, unpack
from .clip_key import sidecar_motion_key

MOST_FACES = 256  # in one frame
MOST_TRACK = 2**53  # what any reader of JSON holds exactly
MOST_SIDE_PX = 16_384
# A packed motion has 80 to 230 bytes where the flow is sure, 340 where it is noise: nearly all
# take one unit, and its size says nothing about them.
RECORD_BYTES = 256
_RECORD = struct.Struct(">QH")
_LABEL = b"bauta/v1/in-band motions of a frame"
_PLACE = struct.Struct(">QQ")
_NONCE_BYTES, _TAG_BYTES = 12, 16


def _units(length: int) -> int:
    """RECORD_BYTES that a packed motion of `length` bytes takes."""
    return -(-(_RECORD.size + length) // RECORD_BYTES)


_MOST_SEALED_BYTES = MOST_FACES * _units(MOST_BYTES) * RECORD_BYTES + _TAG_BYTES
MOST_CHARACTERS = -(-_MOST_SEALED_BYTES // 3) * 4


class MotionCipher:
    """Seals and opens the motions of one sidecar."""

    def __init__(self, clip_key: bytes, header_mac: bytes, size_px: tuple[int, int]) -> None:
        """`header_mac`: of the sidecar's first line, another one for each session."""
        self._aead = ChaCha20Poly1305(sidecar_motion_key(clip_key, header_mac))
        self._size_px = size_px

    def sealed(self, frame: int, number: int, carried: Sequence[CarriedFace]) -> str:
        """Base64, and "" where there is nothing to seal. Once for each frame, in any order.

        What `opened` would refuse is left out: one odd face must not spoil the whole sidecar.
        """
        sound = [face for face in carried if not self._fault(face, number)][:MOST_FACES]
        if not sound:
            return ""
        plain = b"".join(_record(face.track_id, pack(face.motion)) for face in sound)
        data = self._aead.encrypt(_nonce(frame), plain, _LABEL + _PLACE.pack(frame, number))
        return base64.b64encode(data).decode("ascii")

    def opened(self, frame: int, number: int, text: str) -> tuple[CarriedFace, ...]:
        """What was sealed for this frame. Raises ValueError for anything else."""
        if len(text) > MOST_CHARACTERS:
            raise ValueError("its motions are too long")
        try:
            data = base64.b64decode(text.encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise ValueError("its motions are no base64") from None
        # all sizes are public; the cipher itself refuses what is shorter than its tag
        if len(data) <= _TAG_BYTES or (len(data) - _TAG_BYTES) % RECORD_BYTES:
            raise ValueError("its motions have the wrong size")
        try:
            plain = self._aead.decrypt(_nonce(frame), data, _LABEL + _PLACE.pack(frame, number))
        except InvalidTag:
            raise ValueError("its motions are not as they were sealed") from None
        carried = _faces(plain)
        for face in carried:
            if fault := self._fault(face, number):
                raise ValueError(fault)
        return carried

    def _fault(self, face: CarriedFace, number: int) -> str:
        """What is wrong with it, or ""."""
        motion = face.motion
        if not 0 <= face.track_id <= MOST_TRACK:
            return "a motion's track is out of range"
        if not 0 <= motion.key_number < number:
            return "a motion's keyframe does not come before it"
        if any(abs(value) > MOST_SIDE_PX for value in (*motion.key_xys_px, *motion.xys_px)):
            return "a motion's square is out of range"
        # moving takes memory by the square's area, also where it hangs out of the picture
        if motion.xys_px[2] > 2 * max(self._size_px):
            return "a motion's square is too large for the picture"
        return ""


def _nonce(frame: int) -> bytes:
    """A frame's count in its sidecar: the key is of this sidecar alone, so none comes twice."""
    return frame.to_bytes(_NONCE_BYTES, "big")


def _record(track_id: int, packed: bytes) -> bytes:
    return (_RECORD.pack(track_id, len(packed)) + packed).ljust(
        _units(len(packed)) * RECORD_BYTES, b"\0"
    )


def _faces(plain: bytes) -> tuple[CarriedFace, ...]:
    """The inverse of joined records. Raises ValueError."""
    faces: list[CarriedFace] = []
    begin = 0
    while begin < len(plain):
        if len(faces) == MOST_FACES:
            raise ValueError(f"a frame has motions of more than {MOST_FACES} faces")
        track_id, length = _RECORD.unpack_from(plain, begin)
        end = begin + _units(length) * RECORD_BYTES
        first = begin + _RECORD.size
        if end > len(plain) or any(plain[first + length : end]):
            raise ValueError("a motion's length is wrong")
        motion: Motion = unpack(plain[first : first + length])
        faces.append(CarriedFace(track_id, motion))
        begin = end
    return tuple(faces)
