"""Which encoders really work here, and which preset this machine can afford: by test encodes.

A list of names proves nothing: H100-class GPUs list NVENC and have none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import av
import av.error
import numpy as np

from ..errors import EncodeError
from ..frames import U8Array

Codec = Literal["h264", "h265"]
SOFTWARE: dict[Codec, str] = {"h264": "libx264", "h265": "libx265"}
NVENC: dict[Codec, str] = {"h264": "h264_nvenc", "h265": "hevc_nvenc"}

LIVE_PRESETS = ("veryfast", "superfast", "ultrafast")  # best first
ENCODE_SHARE = 0.35  # of all cores: decoding, detection and the recorders need the rest
PROBE_SIZE_PX = (1280, 720)
_PROBE_FRAMES = 8
_probe_lock = threading.Lock()
_log = logging.getLogger(__name__)


@lru_cache(maxsize=16)
def encoder_works(encoder: str) -> bool:
    """True where a few frames were really encoded."""
    try:
        _encode(encoder, {}, 640, 360, _probe_pictures(640, 360)[:3])
    except (av.error.FFmpegError, ValueError, OSError, RuntimeError, EncodeError) as error:
        _log.debug("encoder %s does not work here: %s", encoder, error)
        return False
    return True


def choose_encoder(codec: Codec, wish: Literal["auto", "software", "nvenc"]) -> str:
    """The libav encoder's name. Raises EncodeError where the wish cannot be met."""
    if wish in ("auto", "nvenc") and encoder_works(NVENC[codec]):
        return NVENC[codec]
    if wish == "nvenc":
        raise EncodeError(
            f"encode.encoder is nvenc, but a test encode with {NVENC[codec]} failed on this "
            "machine; use auto or software"
        )
    if not encoder_works(SOFTWARE[codec]):
        raise EncodeError(f"{SOFTWARE[codec]} does not work in this installation of PyAV")
    return SOFTWARE[codec]


def live_preset(encoder: str, width_px: int, height_px: int, fps: Fraction, cameras: int) -> str:
    """The best software preset whose CPU time leaves room for the rest of the live path."""
    budget_seconds = ENCODE_SHARE * (os.cpu_count() or 1) / float(fps) / max(cameras, 1)
    costs = preset_costs(encoder)
    for preset in LIVE_PRESETS:
        if costs[preset] * width_px * height_px <= budget_seconds:
            return preset
    return LIVE_PRESETS[-1]


def preset_costs(encoder: str) -> Mapping[str, float]:
    """CPU seconds per pixel of each live preset, measured once per process.

    Call it before a camera is connected: it takes half a second, and frames do not wait.
    """
    with _probe_lock:
        return _measured_costs(encoder)


@lru_cache(maxsize=4)
def _measured_costs(encoder: str) -> Mapping[str, float]:
    width_px, height_px = PROBE_SIZE_PX
    pictures = _probe_pictures(width_px, height_px)
    costs = {}
    for preset in LIVE_PRESETS:
        # One thread, and its own CPU time: other cameras of the process do not disturb the measure.
        started = time.thread_time()
        _encode(encoder, {"preset": preset, "tune": "zerolatency"}, width_px, height_px, pictures)
        spent = (time.thread_time() - started) / len(pictures)
        _log.info("preset %s: %.1f CPU-ms a 720p frame", preset, spent * 1e3)
        costs[preset] = spent / (width_px * height_px)
    return costs


def _encode(
    encoder: str, options: dict[str, str], width_px: int, height_px: int, pictures: list[U8Array]
) -> None:
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width_px, height_px, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    if encoder == "libx265":
        options = options | {"x265-params": "log-level=none"}  # it writes to stderr by itself
    context.options = options
    context.thread_count = 1
    packets = 0
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += len(context.encode(frame))
    packets += len(context.encode(None))
    if packets != len(pictures):
        raise EncodeError(f"{encoder} gave {packets} packets for {len(pictures)} frames")


@lru_cache(maxsize=4)
def _probe_pictures(width_px: int, height_px: int) -> list[U8Array]:
    """I420 pictures with texture that moves: about the work of a busy street."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(40, 200, (height_px // 8 + 8, width_px // 8 + 8), np.uint8)
    texture = np.kron(coarse, np.ones((8, 8), np.uint8))
    texture = texture + rng.integers(0, 12, texture.shape, np.uint8)
    pictures = []
    for index in range(_PROBE_FRAMES):
        picture = np.full((height_px * 3 // 2, width_px), 128, np.uint8)
        shift = index * 3
        picture[:height_px] = texture[shift : shift + height_px, shift : shift + width_px]
        pictures.append(picture)
    return pictures
