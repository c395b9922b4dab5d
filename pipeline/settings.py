"""Every setting, frozen: meaning, unit, and why this default. `config.py` fills them from YAML.

`configs/default.yaml` shows each key once; a test keeps the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(MB|GB|TB)\s*$")
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        if not (match := _DURATION.match(value)):
            raise ValueError(f"must be a duration such as 500ms, 2s, 5m, 12h or 30d, got {value!r}")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _bytes(value: Any) -> Any:
    if isinstance(value, str):
        if not (match := _SIZE.match(value)):
            raise ValueError(f"must be a size such as 500MB, 20GB or 1TB, got {value!r}")
        return int(float(match[1]) * _BYTES[match[2]])
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Point = tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]]
Polygon = Annotated[list[Point], Field(min_length=3)]
"""Corners as shares of width and height, origin top left: survives a change of resolution."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReconnectSettings(_Settings):
    """When a live source fails."""

    first_pause: Seconds = 0.5  # before the first new attempt; doubles with every failure
    longest_pause: Seconds = 30.0  # the pause never grows past this
    open_timeout: Seconds = 10.0  # for connecting and finding the streams
    read_timeout: Seconds = 5.0  # a connected camera that sends nothing for this long is dead


DetectorPreset = Literal["fast", "default", "fine", "thorough"]
DETECTOR_PRESETS: Mapping[DetectorPreset, tuple[str, ...]] = MappingProxyType(
    {
        "fast": ("centerface-small",),  # 480x288
        "default": ("centerface",),  # 640x384: the most that two cores hold live
        "fine": ("centerface-large",),  # 960x544: files, for which nobody waits
        "thorough": ("centerface", "centerface-xlarge"),  # 640x384 and 1280x736, merged
    }
)
"""Keys of configs/models.yaml; each looks at the whole picture. docs/detectors.md compares them."""


class DetectorSettings(_Settings):
    """The face detector shared by all cameras of the process."""

    preset: DetectorPreset = "default"  # how small a face is found, and what a look costs
    model: str | None = None  # a key of configs/models.yaml instead; null: what the preset names
    min_score: float = Field(default=0.07, gt=0, lt=1)  # everything above is covered
    # from here on it is somebody, with a number; below it may be anything, and is covered only
    person_score: float = Field(default=0.2, gt=0, lt=1)
    sure_score: float = Field(default=0.4, gt=0, lt=1)  # from here on a face is held after loss
    threads: int = Field(default=0, ge=0)  # CPU threads of the network; 0: the runtime chooses
    batch: int = Field(default=8, ge=1, le=64)  # most pictures of several cameras in one run
    timeout: Seconds = 2.0  # a detection older than this has failed: its frames are obscured

    @model_validator(mode="after")
    def _model_or_preset(self) -> Self:
        if self.model is not None and self.preset != "default":
            raise ValueError(
                f"model {self.model!r} takes the place of preset {self.preset!r}: leave one out"
            )
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The networks that look at a picture, as keys of configs/models.yaml."""
        return DETECTOR_PRESETS[self.preset] if self.model is None else (self.model,)


class ProtectSettings(_Settings):
    """How faces are found in time and hidden."""

    # obfuscate: for good. proface-s: faces can be recovered from keyframes, with the key
    protector: Literal["obfuscate", "proface-s"] = "obfuscate"
    obfuscation: Literal["pixelate", "solid", "blur", "median", "noise", "mask"] = "solid"
    strength: float = Field(default=0.25, ge=0.05, le=1)  # smallest detail left, in face widths
    shape: Literal["ellipse", "box"] = "ellipse"
    grow: float = Field(default=1.5, ge=1.0, le=3.0)  # covered region, in detected box sides
    detect_every: int = Field(default=4, ge=1, le=100)  # frames between two detections
    lookahead: int = Field(
        default=3, ge=0, le=100
    )  # frames that wait: new faces are hidden so far back
    longest_gap: Seconds = 0.24  # slow cameras are looked at at least this often (stream time)
    hold: Seconds = 1.0  # a lost face stays covered where it was going
    gate: bool = True  # skip detection while nothing moves
    gate_refresh: Seconds = 2.0  # look again at a motionless scene this often
    # --- proface-s only ---
    fusion_model: str = "proface-s-video"  # a key of configs/models.yaml; it survives video coding
    keyframe_every: Seconds = 1.0  # between two fusions of a face; also at every IDR and on doubt
    carry_texture: bool = False  # true: no faint flash at keyframes, but many more bits
    # the stream must not fall behind: of 112 x 112 pixels, larger faces count by their area
    fusions_per_second: float = Field(default=30, gt=0, le=10_000)
    recipients: list[Path] = []  # age public keys (NAME.pub) that can open this camera's faces

    @model_validator(mode="after")
    def _lookahead_covers_the_gap(self) -> Self:
        if self.detect_every > self.lookahead + 1:
            raise ValueError(
                f"detect_every must be at most lookahead + 1 = {self.lookahead + 1}, got "
                f"{self.detect_every}: a face would be published before it was looked for. "
                f"Raise lookahead to {self.detect_every - 1} or lower detect_every"
            )
        return self


# Nobody waits for a file: a longer look-ahead is free and pays for fewer looks, and each look may
# be finer. The finer one sees fewer phantoms, so that more of what it doubts can be covered.
# docs/privacy.md has what leaks, docs/detectors.md what it costs.
FILE_PROTECT: Mapping[str, int] = MappingProxyType({"detect_every": 8, "lookahead": 7})
FILE_DETECTOR: Mapping[str, str | float] = MappingProxyType({"preset": "fine", "min_score": 0.05})


class ZoneSettings(_Settings):
    """Polygons that are treated alike in every frame."""

    always: list[Polygon] = []  # covered in every frame, face or not
    never: list[Polygon] = []  # left clear on purpose: faces inside are NOT hidden


class EncodeSettings(_Settings):
    """The protected stream's codec."""

    codec: Literal["h264", "h265"] = "h264"
    encoder: Literal["auto", "software", "nvenc"] = "auto"  # auto: hardware if it really works
    preset: Literal[
        "auto", "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"
    ] = "auto"  # auto: live by a probe of this machine, files veryfast
    crf: int = Field(default=23, ge=0, le=51)  # constant quality; lower is better and larger
    bitrate_kbps: int | None = Field(default=None, ge=50)  # a ceiling for the stream; null: none
    gop: Seconds = 2.0  # between two IDR frames: how soon a viewer sees a picture


class RecordSettings(_Settings):
    """Segmented recordings: fragmented MP4 that survives a kill."""

    dir: Path
    segment: Seconds = 300.0  # length of a file, cut at the next IDR
    retention: Seconds | None = None  # older files are deleted; null: kept
    max_size: Bytes | None = None  # oldest files are deleted above this; null: no limit


class HlsSettings(_Settings):
    """HTTP live streaming: a playlist and short segments in a folder."""

    dir: Path
    segment: Seconds = 2.0
    keep: int = Field(default=6, ge=3)  # segments in the playlist


class EvidenceSettings(_Settings):
    """The original faces, sealed for `recipients`, in or beside the protected stream."""

    carrier: Literal["stream", "sidecar", "both"] = "stream"  # sidecar: receivers that strip SEI
    on_failure: Literal["dark", "continue"] = "dark"  # dark: no picture without its evidence
    # default: about 41 dB. lossless: bit by bit. keyframes: one whole face per keyframe_every
    detail: Literal["default", "lossless", "keyframes"] = "default"


class GroupSettings(_Settings):
    """One group of recipients: of each group somebody is needed to recover a face."""

    keys: list[Path] = Field(min_length=1, max_length=64)  # public keys (NAME.pub)
    threshold: int = Field(default=1, ge=1)  # how many of them are needed

    @model_validator(mode="after")
    def _threshold_can_be_met(self) -> Self:
        if self.threshold > len(self.keys):
            raise ValueError(
                f"threshold must be at most the number of keys = {len(self.keys)}, got "
                f"{self.threshold}"
            )
        return self


def _group(value: Any) -> Any:
    return {"keys": value} if isinstance(value, list) else value


GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Recipients = Annotated[
    dict[GroupName, Annotated[GroupSettings, BeforeValidator(_group)]], Field(max_length=16)
]


class TlsSettings(_Settings):
    """A certificate for the console, PEM files."""

    cert: Path  # with the chain of those who signed it
    key: Path


_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ConsoleSettings(_Settings):
    """The review console in a browser. It shows protected pictures only, and holds no key."""

    address: str = "127.0.0.1"  # where it listens; anything but this machine needs tls
    port: int = Field(default=8080, ge=0, le=65535)  # 0: any free one
    tls: TlsSettings | None = None  # null: http, and this machine's browsers only
    names: list[str] = []  # host names by which browsers reach it, besides address and localhost
    database: str | None = None  # postgresql://…; null: SQLite in the folder BAUTA_STATE
    session_idle: Seconds = 3600.0  # signed out after so long without a word from the browser
    session_longest: Seconds = 43200.0  # signed out after this in any case: a long shift
    request_expiry: Seconds = 604800.0  # a request waits, and an approval holds, so long

    @model_validator(mode="after")
    def _others_need_tls(self) -> Self:
        if self.tls is None and self.address not in _LOOPBACK:
            raise ValueError(
                f"address {self.address} is open to others, and passwords would cross the network "
                "in clear: give tls: {cert: FILE, key: FILE}, or listen at 127.0.0.1"
            )
        return self

    def __repr__(self) -> str:
        # database may hold a password
        return f"ConsoleSettings({self.address}:{self.port})"

    __str__ = __repr__


class CameraSettings(_Settings):
    """One camera: where it comes from, how it is protected, where it goes."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    source: str  # rtsp://… or a file
    transport: Literal["tcp", "udp"] = "tcp"
    audio: Literal["drop", "keep"] = "drop"  # a voice identifies like a face does
    privacy: Literal["faces", "everything"] = "faces"  # everything: the whole picture, always
    publish: list[str] = []  # rtsp://, rtmp://, srt:// or a file ending in .mp4, .mkv or .ts
    record: RecordSettings | None = None
    hls: HlsSettings | None = None
    protect: ProtectSettings = ProtectSettings()
    zones: ZoneSettings = ZoneSettings()
    encode: EncodeSettings = EncodeSettings()
    evidence: EvidenceSettings | None = None  # null: what is hidden is hidden for good
    reconnect: ReconnectSettings = ReconnectSettings()

    def __repr__(self) -> str:
        # source and publish may hold credentials
        return f"CameraSettings(id={self.id!r})"

    __str__ = __repr__


class Settings(_Settings):
    """A whole configuration file."""

    # names this installation in logs, status and evidence
    site: str = Field(default="bauta", min_length=1, max_length=200)
    recipients: Recipients = {}  # who can recover faces: one of each group is needed
    service_key: Path | None = None  # signs evidence; null: service.key in BAUTA_STATE
    detector: DetectorSettings = DetectorSettings()
    console: ConsoleSettings | None = ConsoleSettings()  # null: none
    cameras: list[CameraSettings] = []

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        seen: set[str] = set()
        for camera in self.cameras:
            if camera.id in seen:
                raise ValueError(f"camera id must be unique, got {camera.id!r} twice")
            seen.add(camera.id)
        return self

    @model_validator(mode="after")
    def _evidence_has_recipients(self) -> Self:
        asking = [camera.id for camera in self.cameras if camera.evidence is not None]
        if asking and not self.recipients:
            raise ValueError(
                f"recipients must name at least one group: camera {asking[0]} has evidence, and "
                "nobody could open it. Add recipients: {officers: [officer.pub]}"
            )
        return self
