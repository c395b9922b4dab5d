"""The sidecar of in-band recovery: where in a clip the fused squares are, line by line as JSON.

    header  {"format": "bauta-inband/2", "model", "model_sha256", "created", "size": [w, h],
             "commitment", "salt", "recipients": [age1…], "sealed", "mac"}
    frame   {"frame", "pts_seconds", "faces": [{"track", "x", "y", "side"}], "mac"}
            and "number" where the number bound into the keys is not "frame"
            and "moved", sealed, where faces show an earlier frame's protection: `sidecar_motion.py`
    end     {"end": frames in the clip, "mac"}; missing where the writer was killed

Each mac is of its own line and of all before it, under a key derived from the clip key: nobody
without it can alter a line unseen. Everything is read with bounds: a sidecar comes from outside.

Format 1 has no "moved". The name had to change: who reads 1 alone would call such a line damaged,
and is told now that the format is another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives import constant_time

from ..errors import SidecarError
from ..frames import CarriedFace, FusedFace, ShapeError, Square
from .clip_key import KeyRecord, sidecar_mac_key
from .secret_map import SALT_BYTES
from .sidecar_motion import MOST_CHARACTERS, MOST_FACES, MOST_SIDE_PX, MOST_TRACK, MotionCipher

FORMAT = "bauta-inband/2"
FORMAT_WITHOUT_MOTION = "bauta-inband/1"  # still read
SUFFIX = ".inband.jsonl"
# 256 faces: 175 kB of motions, were all of them wild, and 15 kB of squares
MOST_LINE_BYTES = 256 * 1024
MOST_LINES = 20_000_000  # a day of 25 frames/s has 2.2 million
MOST_RECIPIENTS = 100
_MAC_BYTES = 16
# CAMERA_STAMP, as recordings and their sidecars are named
_RECORDED = re.compile(r"(.+)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Header:
    """What holds for the whole clip."""

    model: str
    model_sha256: str
    created_utc: str  # ISO 8601
    size_px: tuple[int, int]  # (width, height)
    keys: KeyRecord


@dataclass(frozen=True, slots=True)
class FrameLine:
    """The fused faces of one frame, and those that were carried to it."""

    frame: int  # counts the encoded frames from 0
    number: int  # what the faces' keys are bound to; differs where a live stream lost frames
    pts_seconds: float  # on the output clock; for people, recovery counts frames
    faces: tuple[FusedFace, ...]
    carried: tuple[CarriedFace, ...] = ()  # their `key_number` is the `number` of another line


class SidecarWriter:
    """Appends line by line; a killed process loses at most the line under way."""

    def __init__(self, path: Path, header: Header, clip_key: bytes) -> None:
        """Replaces the file. Raises SidecarError."""
        self.path = path
        self._mac_key = sidecar_mac_key(clip_key)
        self._mac = b""
        self._last_frame = -1
        self._file: IO[str] | None = None
        try:
            self._file = path.open("w", encoding="ascii", newline="\n")
        except OSError as error:
            raise SidecarError(f"{path}: {error.strerror}") from None
        self._write(_header_fields(header))
        self._motions = MotionCipher(clip_key, self._mac, header.size_px)

    def add(self, line: FrameLine) -> None:
        """Raises SidecarError, and ValueError where the frame does not come after the last one."""
        if line.frame <= self._last_frame:  # its motions would be sealed under a used nonce
            raise ValueError(f"frame {line.frame} comes after frame {self._last_frame}")
        self._last_frame = line.frame
        fields: dict[str, Any] = {
            "frame": line.frame,
            "pts_seconds": round(line.pts_seconds, 6),
            "faces": [
                {
                    "track": face.track_id,
                    "x": face.square.x_px,
                    "y": face.square.y_px,
                    "side": face.square.side_px,
                }
                for face in line.faces
            ],
        }
        if line.number != line.frame:
            fields["number"] = line.number
        if moved := self._motions.sealed(line.frame, line.number, line.carried):
            fields["moved"] = moved
        self._write(fields)

    def close(self, frames: int) -> None:
        """`frames`: how many the clip has. Idempotent. Raises SidecarError."""
        if self._file is None:
            return
        try:
            self._write({"end": frames})
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, fields: dict[str, Any]) -> None:
        file = self._file
        if file is None:
            return
        self._mac = _mac(self._mac_key, self._mac, fields)
        try:
            file.write(_canonical(fields | {"mac": self._mac.hex()}) + "\n")
            file.flush()
        except OSError as error:
            self._file = None
            with suppress(OSError):  # the same full disk once more
                file.close()
            raise SidecarError(f"{self.path}: {error.strerror}") from None


def sidecar_of(clip: Path) -> Path:
    """Beside the clip; for a segment of a recording, that of its session in the same folder."""
    beside = clip.with_name(clip.name + SUFFIX)
    if beside.exists() or not (name := _RECORDED.fullmatch(clip.stem)):
        return beside
    camera, stamp = name.groups()
    named = (path.name.removesuffix(SUFFIX) for path in clip.parent.glob(f"*{SUFFIX}"))
    sessions = [found for stem in named if (found := _RECORDED.fullmatch(stem))]
    # stamps sort by time; a session begins before its first segment
    begun = [found[0] for found in sessions if found[1] == camera and found[2] <= stamp]
    return clip.with_name(max(begun) + SUFFIX) if begun else beside


def read_header(path: Path) -> Header:
    """The first line. Raises SidecarError; its mac is checked by `read_lines`."""
    with _opened(path) as file:
        return _parse_header(_fields(path, 1, _next_line(path, 1, file) or b""), path)


def read_lines(path: Path, clip_key: bytes, *, motions_from: int | None = 0) -> Iterator[FrameLine]:
    """The lines of all frames with fused or carried faces, each checked to be as it was written.

    `motions_from`: the first frame whose motions are opened; None: they stay sealed, and `carried`
    is empty. Raises SidecarError with the line's number. A sidecar without its end is given as far
    as it goes: `is_complete` tells.
    """
    mac_key, mac = sidecar_mac_key(clip_key), b""
    reader: _LineReader | None = None
    last_frame = last_number = -1
    with _opened(path) as file:
        for count in range(1, MOST_LINES):
            line = _next_line(path, count, file)
            if line is None:
                return
            fields = _fields(path, count, line)
            given = _hex(fields.pop("mac", None), _MAC_BYTES)
            mac = _mac(mac_key, mac, fields)
            if given is None or not constant_time.bytes_eq(given, mac):
                raise SidecarError(f"{path}: line {count} is not as it was written")
            if reader is None:
                size_px = _parse_header(fields, path).size_px
                cipher = MotionCipher(clip_key, mac, size_px)
                has_motions = fields["format"] != FORMAT_WITHOUT_MOTION
                reader = _LineReader(size_px, cipher if has_motions else None, motions_from)
                continue
            if "end" in fields:
                if file.read(1):
                    raise SidecarError(f"{path}: something follows its end in line {count}")
                return
            try:
                parsed = reader.parse(fields)
            except (KeyError, TypeError, ValueError, ShapeError) as error:
                raise SidecarError(f"{path}: line {count} is damaged: {error}") from None
            if parsed.frame <= last_frame or parsed.number <= last_number:
                raise SidecarError(f"{path}: line {count} is out of order")
            last_frame, last_number = parsed.frame, parsed.number
            yield parsed
    raise SidecarError(f"{path}: more than {MOST_LINES} lines")


def is_complete(path: Path) -> bool:
    """Whether the last line is an end: the writer was not killed. Raises SidecarError."""
    with _opened(path) as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 200))
        last = file.read().splitlines()[-1:]
    return bool(last) and last[0].startswith(b'{"end":')


# --- lines ---


def _canonical(fields: dict[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _mac(key: bytes, before: bytes, fields: dict[str, Any]) -> bytes:
    text = before + _canonical(fields).encode("ascii")
    return hmac.new(key, text, hashlib.sha256).digest()[:_MAC_BYTES]


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise SidecarError(f"{path}: {error.strerror}; name it with --sidecar FILE") from None


def _next_line(path: Path, count: int, file: IO[bytes]) -> bytes | None:
    """One line without its end; None behind the last, and for a last one cut off by a kill."""
    line = file.readline(MOST_LINE_BYTES + 1)
    if len(line) > MOST_LINE_BYTES:
        raise SidecarError(f"{path}: line {count} is longer than {MOST_LINE_BYTES} bytes")
    return line[:-1] if line.endswith(b"\n") else None


def _fields(path: Path, count: int, line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line.decode("ascii"))
        # what cannot be written the way we write cannot have been written by us
        if not isinstance(fields, dict) or _canonical(fields).encode("ascii") != line:
            raise ValueError("not canonical")
    except (ValueError, RecursionError):
        raise SidecarError(f"{path}: line {count} is no line of a sidecar") from None
    return fields


def _header_fields(header: Header) -> dict[str, Any]:
    keys = header.keys
    return {
        "format": FORMAT,
        "model": header.model,
        "model_sha256": header.model_sha256,
        "created": header.created_utc,
        "size": list(header.size_px),
        "commitment": keys.commitment.hex(),
        "salt": keys.salt.hex() if keys.salt is not None else None,
        "recipients": list(keys.recipients),
        "sealed": base64.b64encode(keys.sealed).decode("ascii") if keys.sealed else None,
    }


def _parse_header(fields: dict[str, Any], path: Path) -> Header:
    if fields.get("format") not in (FORMAT, FORMAT_WITHOUT_MOTION):
        raise SidecarError(f"{path}: is no sidecar of the format {FORMAT}")
    try:
        width, height = (_whole(value, 2, MOST_SIDE_PX) for value in fields["size"])
        recipients = [_text(name, 200) for name in _list(fields["recipients"], MOST_RECIPIENTS)]
        commitment = _hex(fields["commitment"], 32)
        salt = _hex(fields["salt"], SALT_BYTES) if fields["salt"] is not None else None
        sealed = fields["sealed"]
        if commitment is None or (fields["salt"] is not None and salt is None):
            raise ValueError("commitment or salt")
        return Header(
            model=_text(fields["model"], 100),
            model_sha256=_text(fields["model_sha256"], 64),
            created_utc=_text(fields["created"], 40),
            size_px=(width, height),
            keys=KeyRecord(
                commitment,
                salt,
                tuple(recipients),
                None if sealed is None else base64.b64decode(_text(sealed, 60_000), validate=True),
            ),
        )
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise SidecarError(f"{path}: its header is damaged: {error}") from None


@dataclass(frozen=True, slots=True)
class _LineReader:
    """The lines of one sidecar."""

    size_px: tuple[int, int]
    motions: MotionCipher | None  # None: the format has none
    motions_from: int | None

    def parse(self, fields: dict[str, Any]) -> FrameLine:
        """Raises KeyError, TypeError, ValueError, ShapeError."""
        frame = _whole(fields["frame"], 0, 2**53)
        seconds = fields["pts_seconds"]
        if type(seconds) not in (int, float) or not math.isfinite(seconds):
            raise ValueError("pts_seconds")
        faces = [_parse_face(face, self.size_px) for face in _list(fields["faces"], MOST_FACES)]
        number = _whole(fields.get("number", frame), 0, 2**53)
        if set(fields) - {"frame", "number", "pts_seconds", "faces", "moved"}:
            raise ValueError("unknown keys")
        carried: tuple[CarriedFace, ...] = ()
        if "moved" in fields:
            if self.motions is None:
                raise ValueError("motions in a format that has none")
            text = _text(fields["moved"], MOST_CHARACTERS)
            if self.motions_from is not None and frame >= self.motions_from:
                carried = self.motions.opened(frame, number, text)
        return FrameLine(frame, number, float(seconds), tuple(faces), carried)


def _parse_face(face: Any, size_px: tuple[int, int]) -> FusedFace:
    x, y, side = (_whole(face[name], 0, MOST_SIDE_PX) for name in ("x", "y", "side"))
    if x + side > size_px[0] or y + side > size_px[1]:
        raise ValueError("a square outside of the picture")
    return FusedFace(_whole(face["track"], 0, MOST_TRACK), Square(x, y, side))


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:  # True is an int as well
        raise ValueError("a number out of its range")
    return value


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError("a text that is missing or too long")
    return value


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list that is missing or too long")
    return value


def _hex(value: Any, count: int) -> bytes | None:
    """`count` bytes, or None."""
    if not isinstance(value, str) or len(value) != 2 * count:
        return None
    try:
        return bytes.fromhex(value)
    except ValueError:
        return None
