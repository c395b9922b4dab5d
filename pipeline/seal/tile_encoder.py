"""One track's tile video: its rectangle, frame by frame, as H.264 (docs/evidence-format.md, 5)."""

from __future__ import annotations

from fractions import Fraction

import av
import av.error
import cv2
import numpy as np

from ..errors import EncodeError
from ..evidence.body import TileItem, mask_bits
from ..evidence.nal import ANNEX_B, START_CODE, nal_type, split_nals
from ..frames import OriginalTile, Surroundings, U8Array, YuvPlanes, planes_of

# A face that comes nearer begins no new video for a while; with small ones the margin would cost
# more than the new videos.
MARGIN_PX, SMALL_MARGIN_PX = 24, 8  # both sides together
SMALL_PX = 80
MOST_PX = 8192  # a side; readers refuse more
_BLOCK_PX = 16  # the codec's own: a picture that is no multiple would be filled up by it
_QP = 28  # about 40 dB of luma PSNR on faces of 200 px, 38 dB on those of 100 px
_RATE = 25  # frames have no time of their own here; rate control wants to hear some

# Nobody looks at a tile before it is put back: bits go where the pixels need them (psnr), and each
# picture gets the same quality, also where a face moves quickly (qp instead of crf). One slice, one
# thread, no frame held back. Only the first picture is an IDR, and better than those after it
# (ipratio): they are all made out of it. Tried by hand on made 1080p clips: crf, faster presets and
# edges drawn outward instead of the picture around all took more bits for the same PSNR, the last
# by far the most; slower presets saved little. `bauta bench recovery` measures what came of it.
_PRESET, _LIVE_PRESET = "faster", "superfast"  # live, the cores are wanted for the stream
_OPTIONS = {
    "tune": "psnr,zerolatency",
    "x264-params": (
        "scenecut=0:keyint=infinite:sliced-threads=0:annexb=1:repeat-headers=1:ref=1"
        ":ipratio=1.4:chroma-qp-offset=4"
    ),
}
_SEI = 6  # only x264 makes one, and it says nothing but its version and settings, in 600 bytes


class TileEncoder:
    """The tiles of one track in one epoch. Used by one thread.

    It holds original pixels until it is closed.
    """

    def __init__(self, *, lossless: bool, live: bool = False) -> None:
        """`lossless`: the planes come back bit by bit. `live`: less work for more bits."""
        self._lossless = lossless
        self._preset = _LIVE_PRESET if live else _PRESET
        self._context: av.VideoCodecContext | None = None
        self._last: av.VideoFrame | None = None
        self._size_px = (0, 0)
        self._count = 0

    def encode(self, tile: OriginalTile) -> TileItem:
        """One packet; a new video begins where the rectangle has outgrown it. Raises EncodeError.

        After an error the next tile begins a new video.
        """
        mask = mask_bits(tile.owned) if tile.owned is not None else None
        width, height = tile.planes.size_px
        context = self._context
        starts = context is None or width > self._size_px[0] or height > self._size_px[1]
        try:
            if context is None or starts:
                context = self._begin(width, height)
            picture = _framed(tile, self._size_px, self._last)
            self._last = picture
            picture.pts, picture.time_base = self._count, Fraction(1, _RATE)
            self._count += 1
            packets = context.encode(picture)
        except (av.error.FFmpegError, ValueError) as error:
            self.close()
            raise EncodeError(f"libx264 refused a tile: {type(error).__name__}") from error
        if len(packets) != 1:
            self.close()
            raise EncodeError(f"libx264 gave {len(packets)} packets for one tile")
        return TileItem(starts, tile.xywh_px, _without_sei(bytes(packets[0])), mask)

    def close(self) -> None:
        """Forget the video. Idempotent; a tile after it begins a new one."""
        self._context = self._last = None

    def _begin(self, width_px: int, height_px: int) -> av.VideoCodecContext:
        """Half a millisecond for a face of a 1080p camera."""
        self.close()
        self._size_px = (_video_side(width_px), _video_side(height_px))
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height = self._size_px
        context.pix_fmt = "yuv420p"
        context.time_base, context.framerate = Fraction(1, _RATE), Fraction(_RATE)
        context.thread_count = 1
        context.max_b_frames = 0
        context.gop_size = 10_000
        context.options = {
            **_OPTIONS,
            "preset": self._preset,
            "qp": "0" if self._lossless else str(_QP),
        }
        context.open()
        self._context, self._count = context, 0
        return context


def _video_side(side_px: int) -> int:
    """Raises EncodeError for what no reader would take."""
    if side_px > MOST_PX:
        raise EncodeError(f"a tile's side must be at most {MOST_PX} px, got {side_px}")
    margin = SMALL_MARGIN_PX if side_px < SMALL_PX else MARGIN_PX
    return min(-(-(side_px + margin) // _BLOCK_PX) * _BLOCK_PX, MOST_PX)


def _framed(
    tile: OriginalTile, size_px: tuple[int, int], last: av.VideoFrame | None
) -> av.VideoFrame:
    """A picture of the video's size, the rectangle in its middle, and what is known around it.

    Beyond that, edges are drawn outward. Where others are hidden the last picture stays: nobody
    takes these pixels, and an obfuscation changes with every frame.
    """
    picture = av.VideoFrame(*size_px, "yuv420p")
    x, y = (
        (all_px - own) // 4 * 2 for all_px, own in zip(size_px, tile.planes.size_px, strict=True)
    )
    around = tile.around or Surroundings(tile.x_px, tile.y_px, tile.planes, None)
    # what of the surroundings is in the picture
    left, top = min(x, tile.x_px - around.x_px), min(y, tile.y_px - around.y_px)
    from_x, from_y = tile.x_px - around.x_px - left, tile.y_px - around.y_px - top
    x, y = x - left, y - top
    width = min(around.planes.size_px[0] - from_x, size_px[0] - x)
    height = min(around.planes.size_px[1] - from_y, size_px[1] - y)
    shown = around.part(from_x, from_y, width, height)
    for target, content, before, scale in zip(
        _planes(planes_of(picture)),
        _planes(shown.planes),
        _planes(planes_of(last)) if last is not None else (None, None, None),
        (1, 2, 2),
        strict=True,
    ):
        _fill(target, content, x // scale, y // scale)
        if before is not None and shown.is_hidden is not None:
            hidden = cv2.resize(
                shown.is_hidden, content.shape[::-1], interpolation=cv2.INTER_NEAREST
            )
            part = slice(y // scale, (y + height) // scale), slice(x // scale, (x + width) // scale)
            np.copyto(target[part], before[part], where=hidden.view(np.bool_))
    return picture


def _planes(planes: YuvPlanes) -> tuple[U8Array, U8Array, U8Array]:
    return planes.y, planes.u, planes.v


def _fill(target: U8Array, content: U8Array, x: int, y: int) -> None:
    height, width = content.shape
    below, beside = target.shape[0] - height - y, target.shape[1] - width - x
    target[...] = cv2.copyMakeBorder(content, y, below, x, beside, cv2.BORDER_REPLICATE)


def _without_sei(packet: bytes) -> bytes:
    nals = (nal for nal in split_nals(packet, ANNEX_B) if nal_type(nal, "h264") != _SEI)
    return b"".join(b"\0" + START_CODE + nal for nal in nals)
