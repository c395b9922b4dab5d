"""What goes over the pipe between the cameras' process and the console's, as bytes.

    size (4 bytes, of what follows) | kind (1 byte) | body

Everything flows towards the console, but for one word of it: whether it can be reached, or why
not. Bodies are JSON, but for `Begin` and `Piece`, which carry pictures.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from ..settings import ConsoleSettings
from .live.pieces import Fragment, InitSegment
from .plan import ConsolePlan, DemoAccount

LARGEST_BYTES = 32_000_000  # of one message: a keyframe is some 100 kB
LARGEST_WORD_BYTES = 4096  # of what the console answers
_SIZE = struct.Struct(">I")
_NAME = struct.Struct(">B")
_BEGIN = struct.Struct(">BBHH")  # lengths of camera and codec, width, height


class WireError(ValueError):
    """Bytes that are no message of ours, or an end in the middle of one."""


class Source(Protocol):
    """Where messages are read from."""

    def read(self, size: int, /) -> bytes:
        """So many bytes; fewer at the end alone."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The first message."""

    plan: ConsolePlan


@dataclass(frozen=True, slots=True)
class Config:
    """Cameras have changed; what it may read has not."""

    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """`CameraStatus.as_dict` of every camera."""

    cameras: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A stream begins."""

    camera: str
    init: InitSegment


@dataclass(frozen=True, slots=True)
class Piece:
    """One frame of it."""

    camera: str
    fragment: Fragment = field(repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """It is over."""

    camera: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """It cannot be shown."""

    camera: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The cameras' process ends on purpose."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From the console: where it can be reached."""

    url: str


@dataclass(frozen=True, slots=True)
class Failed:
    """From the console: why it ends. `wrong_use`: nobody but the operator can change that."""

    line: str
    wrong_use: bool


Message = Plan | Config | Status | Begin | Piece | End | Refusal | Bye | Ready | Failed

_KINDS: dict[type[Message], bytes] = {
    Plan: b"P",
    Config: b"C",
    Status: b"S",
    Begin: b"B",
    Piece: b"f",  # of a frame that needs others; a keyframe's is K
    End: b"E",
    Refusal: b"X",
    Bye: b"Q",
    Ready: b"R",
    Failed: b"F",
}
_KEYFRAME = b"K"
_OF_KIND = {kind: of for of, kind in _KINDS.items()} | {_KEYFRAME: Piece}


def pack(message: Message) -> bytes:
    """As it goes over the pipe. Raises WireError where it is too large."""
    kind = _KINDS[type(message)]
    if isinstance(message, Piece):
        name = message.camera.encode()
        body = _NAME.pack(len(name)) + name + message.fragment.data
        kind = _KEYFRAME if message.fragment.is_keyframe else kind
    elif isinstance(message, Begin):
        name, codec, init = message.camera.encode(), message.init.codec.encode(), message.init
        body = _BEGIN.pack(len(name), len(codec), init.width, init.height) + name + codec
        body += init.data
    else:
        body = json.dumps(_tree(message), separators=(",", ":")).encode()
    if len(body) >= LARGEST_BYTES:
        raise WireError(f"a message of {len(body)} bytes is too large")
    return _SIZE.pack(len(body) + 1) + kind + body


def read_messages(pipe: Source, *, largest: int = LARGEST_BYTES) -> Iterator[Message]:
    """Until the other side closes. Raises WireError."""
    while head := _exactly(pipe, _SIZE.size, may_end=True):
        (size,) = _SIZE.unpack(head)
        if not 1 <= size <= largest:
            raise WireError(f"a message of {size} bytes, allowed are 1 to {largest}")
        data = _exactly(pipe, size)
        yield unpack(data[:1], memoryview(data)[1:])


def unpack(kind: bytes, body: memoryview) -> Message:
    """One message. Raises WireError for anything else."""
    of = _OF_KIND.get(kind)
    if of is None:
        raise WireError(f"a message of the unknown kind {kind!r}")
    try:
        if of is Piece:
            (length,) = _NAME.unpack_from(body)
            camera = _text(body, _NAME.size, length)
            fragment = Fragment(bytes(body[_NAME.size + length :]), kind == _KEYFRAME)
            return Piece(camera, fragment)
        if of is Begin:
            return _begin(body)
        return _message(of, json.loads(bytes(body)))
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        # of a plan's settings pydantic would repeat values, and one may be a password
        why = "a value breaks a rule" if isinstance(error, ValidationError) else error
        raise WireError(f"a message {of.__name__} that makes no sense: {why}") from None


def _exactly(pipe: Source, size: int, *, may_end: bool = False) -> bytes:
    data = pipe.read(size)
    if len(data) < size and not (may_end and not data):
        raise WireError("the pipe ended in the middle of a message")
    return data


def _text(body: memoryview, start: int, length: int) -> str:
    data = bytes(body[start : start + length])
    if len(data) < length:
        raise ValueError("it is too short")
    return data.decode()


def _begin(body: memoryview) -> Begin:
    name, codec, width, height = _BEGIN.unpack_from(body)
    start = _BEGIN.size
    camera = _text(body, start, name)
    codec_text = _text(body, start + name, codec)
    return Begin(
        camera, InitSegment(bytes(body[start + name + codec :]), codec_text, width, height)
    )


def _tree(message: Message) -> dict[str, Any]:
    if isinstance(message, Plan):
        plan = message.plan
        return {
            "site": plan.site,
            "settings": plan.settings.model_dump(mode="json"),
            "state_dir": str(plan.state_dir),
            "cameras": plan.cameras,
            "folders": list(map(str, plan.folders)),
            "demo": [[one.name, one.password, one.roles] for one in plan.demo],
        }
    if isinstance(message, Config):
        return {"cameras": message.cameras}
    if isinstance(message, Status):
        return {"cameras": message.cameras}
    if isinstance(message, End | Refusal):
        return {"camera": message.camera, "reason": message.reason}
    if isinstance(message, Ready):
        return {"url": message.url}
    if isinstance(message, Failed):
        return {"line": message.line, "wrong_use": message.wrong_use}
    return {}


def _message(of: type[Message], tree: Any) -> Message:
    if not isinstance(tree, dict):
        raise ValueError("it is no object")
    if of is Plan:
        return Plan(_plan(tree))
    if of is Config:
        return Config(_texts(tree["cameras"]))
    if of is Status:
        cameras = tree["cameras"]
        if not isinstance(cameras, list) or not all(isinstance(one, dict) for one in cameras):
            raise ValueError("cameras must be a list of objects")
        return Status(tuple(cameras))
    if of is Failed:
        return Failed(_word(tree["line"]), tree["wrong_use"] is True)
    if of is Ready:
        return Ready(_word(tree["url"]))
    if of is End:
        return End(_word(tree["camera"]), _word(tree["reason"]))
    if of is Refusal:
        return Refusal(_word(tree["camera"]), _word(tree["reason"]))
    return Bye()


def _plan(tree: Mapping[str, Any]) -> ConsolePlan:
    return ConsolePlan(
        site=_word(tree["site"]),
        settings=ConsoleSettings.model_validate(tree["settings"]),
        state_dir=Path(_word(tree["state_dir"])),
        cameras=_texts(tree["cameras"]),
        folders=tuple(map(Path, _texts(tree["folders"]))),
        demo=tuple(
            DemoAccount(_word(name), _word(password), _texts(roles))
            for name, password, roles in tree["demo"]
        ),
    )


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a value must be a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("a value must be a list of texts")
    return tuple(map(_word, value))
