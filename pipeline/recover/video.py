"""The recovered clip: the protected one with faces put back at their keyframes, and marked so.

What is written here shows people. It is readable by its owner alone, and says on every frame for
which case it was made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.frame import PictureType

from ..errors import SinkError, SourceError, VaultError
from ..frames import FusedFace, ShapeError, Square, U8Array, YuvPlanes, planes_of
from ..streams import first_frame_of
from .in_band import put_back

CRF = 14  # a recovered face should not be lost again
_FONT = cv2.FONT_HERSHEY_SIMPLEX

OpenFaces = Callable[[YuvPlanes, int, list[Square]], list[YuvPlanes]]
"""(protected planes, position in the clip, squares) to the squares' originals."""


@dataclass(slots=True)
class RecoveryCounts:
    """What came out; for the report."""

    frames: int = 0
    opened: int = 0
    not_opened: int = 0  # noise came out: another clip, another offset, or coded too strongly
    tracks: set[int] = field(default_factory=set)
    stills: list[Path] = field(default_factory=list)


def put_faces_back(
    frames: Iterable[av.VideoFrame],
    faces: Mapping[int, tuple[FusedFace, ...]],
    open_faces: OpenFaces,
    writer: RecoveredVideo,
    *,
    size_px: tuple[int, int],
    is_face: Callable[[U8Array], bool],
    between_seconds: tuple[float, float] = (0.0, float("inf")),
    stills: Path | None = None,
    progress: Callable[[RecoveryCounts], None] = lambda _counts: None,
) -> RecoveryCounts:
    """Write every frame; in those that `faces` names, by position, with the faces that open.

    `is_face` tells by its luma whether a square has opened; what has not keeps its protection.
    `between_seconds`: on the clip's own clock, both ends included; outside nothing is opened.
    Raises VaultError where the clip has another size than when it was protected, EngineError.
    """
    counts = RecoveryCounts()
    for position, image in enumerate(frames):
        if (image.width, image.height) != size_px:
            raise VaultError(
                f"the clip is {image.width}x{image.height}, it was protected at "
                f"{size_px[0]}x{size_px[1]}: a scaled picture cannot be recovered"
            )
        image.make_writable()
        try:
            planes = planes_of(image)
        except ShapeError as error:
            raise SourceError(f"the clip is not what was protected: {error}") from None
        seconds = image.time if image.time is not None else 0.0
        wanted = between_seconds[0] <= seconds <= between_seconds[1]
        here = faces.get(position, ()) if wanted else ()
        # all of them first: a face put back must not be read as a part of another square
        opened = open_faces(planes, position, [face.square for face in here]) if here else []
        for face, original in zip(here, opened, strict=True):
            if not is_face(original.y):
                counts.not_opened += 1
                continue
            put_back(planes, face.square, original)
            counts.opened += 1
            counts.tracks.add(face.track_id)
            if stills is not None:
                name = f"frame-{position:06d}_track-{face.track_id}.png"
                counts.stills.append(write_still(stills / name, original, image))
        writer.write(image)
        counts.frames += 1
        progress(counts)
    return counts


def first_frame_in(clip: Path) -> int | None:
    """The session's frame that the clip says it begins with; None where it says nothing."""
    try:
        with av.open(str(clip)) as container:
            # Matroska writes the names of its tags in capitals
            notes = [v for k, v in container.metadata.items() if k.lower() == "comment"]
    except (av.error.FFmpegError, OSError, ValueError):
        return None  # whoever reads the clip will say what is wrong with it
    return next((frame for note in notes if (frame := first_frame_of(note)) is not None), None)


class RecoveredVideo:
    """A file under its name with .part, until `close` gives it its own."""

    def __init__(self, path: Path, container_format: str, fps: Fraction, mark: str) -> None:
        """`mark` is burnt into every frame."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._format = container_format
        self._fps = fps
        self._mark = mark
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._last_pts = -1

    def write(self, image: av.VideoFrame) -> None:
        """Encode one frame, marked in place. Raises SinkError."""
        burn_in(planes_of(image), self._mark)
        try:
            if self._stream is None or self._container is None:
                self._open(image)
            assert self._stream is not None and self._container is not None
            pts = image.pts if image.pts is not None else self._last_pts + 1
            image.pts = self._last_pts = max(pts, self._last_pts + 1)
            image.pict_type = PictureType.NONE  # the decoded types would force ours
            for packet in self._stream.encode(image):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"{self._path}: {error}") from None

    def close(self) -> None:
        """Finish the file and give it its name. Raises SinkError."""
        if self._stream is None or self._container is None:
            return
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
            self._part.replace(self._path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"{self._path}: {error}") from None

    def abandon(self) -> None:
        """Leave nothing behind: half a recovery is still faces."""
        if self._container is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            self._part.unlink(missing_ok=True)

    def _open(self, image: av.VideoFrame) -> None:
        # made here first: libav would make it for everybody to read
        os.close(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        self._part.chmod(0o600)
        self._container = av.open(str(self._part), "w", format=self._format)
        stream = self._container.add_stream("libx264", rate=self._fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = image.width, image.height
        stream.pix_fmt = image.format.name
        context = stream.codec_context
        assert image.time_base is not None
        context.time_base = image.time_base
        context.color_range, context.colorspace = image.color_range, image.colorspace
        context.max_b_frames = 0
        context.options = {"preset": "veryfast", "crf": str(CRF)}
        self._stream = stream


def write_still(path: Path, face: YuvPlanes, like: av.VideoFrame) -> Path:
    """A recovered face as a PNG, colours as in the frame it is from. Raises SinkError."""
    side = face.y.shape[0]
    i420 = np.concatenate([face.y.ravel(), face.u.ravel(), face.v.ravel()])
    image = av.VideoFrame.from_ndarray(i420.reshape(side * 3 // 2, side), format=like.format.name)
    image.color_range, image.colorspace = like.color_range, like.colorspace
    _, png = cv2.imencode(".png", image.to_ndarray(format="bgr24"))
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(png.tobytes())
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from None
    return path


def burn_in(planes: YuvPlanes, text: str) -> None:
    """A line of text on a dark bar at the bottom left, in place."""
    width, height = planes.size_px
    shown = text.encode("ascii", "replace").decode("ascii")
    scale = max(min(width, height) / 900, 0.3)
    (text_w, text_h), below = cv2.getTextSize(shown, _FONT, scale, 1)
    bar_h = min((text_h + below + 8) // 2 * 2, height)
    bar_w = min((text_w + 12) // 2 * 2, width)
    bar: U8Array = np.full((bar_h, bar_w), 24, np.uint8)
    cv2.putText(bar, shown, (6, bar_h - below - 2), _FONT, scale, 225, 1, cv2.LINE_AA)
    planes.y[height - bar_h :, :bar_w] = bar
    for chroma in (planes.u, planes.v):
        chroma[(height - bar_h) // 2 :, : bar_w // 2] = 128
