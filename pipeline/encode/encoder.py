"""One camera's encoder. It takes `ProtectedFrame`s and nothing else."""

from __future__ import annotations

import io
import logging
from fractions import Fraction
from typing import NamedTuple

import av
import av.error
from av.codec.context import Flags
from av.video.frame import PictureType

from ..compose.gate import ProtectedFrame
from ..errors import EncodeError
from ..frames import EncodedPacket, TrackBox
from ..runtime.cadence import Cadence
from ..settings import EncodeSettings
from ..streams import StreamTemplates

_log = logging.getLogger(__name__)


class _InHand(NamedTuple):
    """What is known of a frame that is in the encoder, for its packet."""

    captured_ns: int
    frame: int
    tracks: tuple[TrackBox, ...]
    redacted: bool


_UNKNOWN = _InHand(0, -1, (), False)


class Encoder:
    """Wraps libx264, libx265 or NVENC. Keyframes come by time: where the gate asked for them."""

    def __init__(
        self,
        settings: EncodeSettings,
        *,
        encoder: str,
        preset: str,
        first: ProtectedFrame,
        fps: Fraction,
        live: bool,
        audio: av.AudioStream | None = None,
        for_recovery: bool = False,
    ) -> None:
        """`first` gives size, format and colour. Raises EncodeError.

        `for_recovery`: bits go where the pixels need them, not where an eye would look: faces are
        to be recovered from them.
        """
        self._gop_seconds = settings.gop
        self._idr = Cadence(settings.gop)
        self._in_hand: dict[int, _InHand] = {}  # by pts
        self._frames = 0
        container = av.open(io.BytesIO(), "w", format="nut")
        stream = container.add_stream(encoder, rate=fps)
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        image = first.image
        context.width, context.height = image.width, image.height
        context.pix_fmt = image.format.name
        context.time_base = first.time_base
        context.framerate = fps
        context.color_range = image.color_range
        context.colorspace = image.colorspace
        context.color_primaries = image.color_primaries
        context.color_trc = image.color_trc
        context.max_b_frames = 0
        # our own IDRs come first; this only bounds the damage if they did not
        context.gop_size = max(2, round(settings.gop * float(fps) * 2))
        context.flags |= Flags.global_header
        context.options = _options(settings, encoder, preset, live, for_recovery)
        if settings.bitrate_kbps:
            context.options["maxrate"] = f"{settings.bitrate_kbps}k"
            context.options["bufsize"] = f"{settings.bitrate_kbps}k"
        self._context = context
        self.name = f"{encoder} {preset}".strip()
        self.templates = StreamTemplates(container, stream)
        if audio is not None:
            self.templates.add_audio(audio)
        try:
            container.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            raise EncodeError(f"{encoder} cannot be opened: {error}") from error

    def encode(self, frame: ProtectedFrame, *, is_idr: bool | None = None) -> list[EncodedPacket]:
        """Packets that are ready; the encoder may hold a few back. Raises EncodeError.

        `is_idr`: what `idr_due` said of the frame, where it was asked already.
        """
        if is_idr is None:
            is_idr = self.idr_due(frame)
        image = frame.image
        image.pts, image.time_base = frame.pts, frame.time_base
        # A decoded frame remembers its old type: the camera's I-frames would force ours.
        image.pict_type = PictureType.I if is_idr else PictureType.NONE
        self._in_hand[frame.pts] = _InHand(
            frame.captured_ns, self._frames, frame.tracks, frame.redacted is not None
        )
        self._frames += 1
        return self._packets(image)

    def finish(self) -> list[EncodedPacket]:
        """What the encoder still held."""
        return self._packets(None)

    @property
    def frames(self) -> int:
        """How many were given: the next one's `EncodedPacket.frame`."""
        return self._frames

    def restart(self) -> None:
        """The next frame becomes an IDR frame, whatever the clock says."""
        self._idr = Cadence(self._gop_seconds)

    def idr_due(self, frame: ProtectedFrame) -> bool:
        """Whether it must become an IDR frame. Ask once for each frame, in order."""
        seconds = float(frame.pts * frame.time_base)
        if frame.is_idr:
            self._idr.restart(seconds)
            return True
        # the frame that was meant to be one may have been dropped on the way here
        return self._idr.due(seconds)

    def _packets(self, image: av.VideoFrame | None) -> list[EncodedPacket]:
        try:
            packets = self._context.encode(image)
        except (av.error.FFmpegError, ValueError) as error:
            raise EncodeError(f"{self.name} refused a frame: {error}") from error
        made = []
        for packet in packets:
            assert packet.pts is not None and packet.time_base is not None
            known = self._in_hand.pop(packet.pts, _UNKNOWN)
            made.append(
                EncodedPacket(
                    kind="video",
                    data=bytes(packet),
                    pts=packet.pts,
                    dts=packet.dts if packet.dts is not None else packet.pts,
                    duration=packet.duration or 0,
                    time_base=packet.time_base,
                    is_keyframe=packet.is_keyframe,
                    captured_ns=known.captured_ns,
                    frame=known.frame,
                    tracks=known.tracks,
                    redacted=known.redacted,
                )
            )
        return made


def _options(
    settings: EncodeSettings, encoder: str, preset: str, live: bool, for_recovery: bool
) -> dict[str, str]:
    if encoder.endswith("_nvenc"):
        return {
            "preset": "p3" if live else "p5",
            "tune": "ull" if live else "hq",
            "rc": "vbr",
            "cq": str(settings.crf),
            "forced-idr": "1",
            "zerolatency": "1",
            "delay": "0",
        }
    options = {"preset": preset, "crf": str(settings.crf), "forced-idr": "1"}
    if live:
        options["tune"] = "zerolatency"  # holds no frame back
    if encoder == "libx265":
        options["x265-params"] = "open-gop=0:scenecut=0:repeat-headers=1:log-level=error"
    else:
        # parameter sets before every IDR: a recorder may cut at any of them
        options["x264-params"] = "scenecut=0:repeat-headers=1"
        if not live:
            # x264 spends fewer bits with it, at a little less PSNR for the same CRF
            options["x264-params"] += ":rc-lookahead=10"
    if for_recovery:
        # Both take bits from a fused square: the one because it is full of detail, the other
        # because the frame after it shows plain obfuscation there. Without them the same bits
        # (two recorded clips, CRF 26 instead of 23) recover faces 2 and 5 dB better.
        if encoder == "libx265":
            options["x265-params"] += ":aq-mode=0:cutree=0"
        else:
            options["x264-params"] += ":aq-mode=0:mbtree=0"
    return options
