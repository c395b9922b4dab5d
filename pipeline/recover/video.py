"""The recovered clip: the protected one with faces put back, and marked so.

What is written here shows people. It is readable by its owner alone, and says on every frame for
which case it was made. At keyframes a face comes from the frame's own pixels; between them it is
the keyframe's, moved (`between.py`), and the frame says that as well: pictures taken out of a clip
outlive its report. Stills are made of keyframes alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.video.frame import PictureType

from ..errors import SinkError, SourceError, VaultError
from ..frames import CarriedFace, FusedFace, ShapeError, U8Array, YuvPlanes, planes_of
from ..streams import first_frame_of
from .between import Between, OpenFaces, lay_over
from .in_band import put_back
from .mark import MOVED, burn_in

CRF = 14  # a recovered face should not be lost again


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """The faces in one frame of the clip."""

    position: int  # in the clip, from 0
    number: int  # what its faces' keys are bound to, and what motions call their keyframe
    fused: tuple[FusedFace, ...]
    carried: tuple[CarriedFace, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be opened; the rest keeps its protection."""

    tracks: frozenset[int] = frozenset()  # empty: all
    # epoch id to the tracks that may be opened there, and none elsewhere; None: wherever they are
    selection: Mapping[bytes, frozenset[int]] | None = None
    from_seconds: float = 0.0  # on the clip's own clock, both ends included
    to_seconds: float = float("inf")

    def track(self, face: FusedFace | CarriedFace) -> bool:
        """Whether this person is."""
        return not self.tracks or face.track_id in self.tracks

    def epoch(self, epoch_id: bytes) -> bool:
        """Whether anything of this epoch is."""
        return self.selection is None or epoch_id in self.selection


@dataclass(slots=True)
class RecoveryCounts:
    """What came out; for the report."""

    frames: int = 0
    opened: int = 0  # at keyframes
    not_opened: int = 0  # noise came out: another clip, another offset, or coded too strongly
    carried: int = 0  # between keyframes, moved
    without_keyframe: int = 0  # their keyframe is not in the clip, or did not open
    tracks: set[int] = field(default_factory=set)
    stills: list[Path] = field(default_factory=list)


def put_faces_back(
    frames: Iterable[av.VideoFrame],
    faces: Iterable[FrameFaces],
    open_faces: OpenFaces,
    writer: RecoveredVideo,
    *,
    size_px: tuple[int, int],
    is_face: Callable[[U8Array], bool],
    wanted: Wanted | None = None,
    stills: Path | None = None,
    progress: Callable[[RecoveryCounts], None] = lambda _counts: None,
) -> RecoveryCounts:
    """Write every frame; in those that `faces` names, in order, with the faces that open.

    `is_face` tells by its luma whether a square has opened; what has not keeps its protection.
    Raises VaultError where the clip has another size than when it was protected, EngineError.
    """
    restorer = _Restorer(open_faces, is_face, wanted or Wanted(), stills)
    counts = restorer.counts
    upcoming = iter(faces)
    here = next(upcoming, None)
    for position, image in enumerate(frames):
        if (image.width, image.height) != size_px:
            raise VaultError(
                f"the clip is {image.width}x{image.height}, it was protected at "
                f"{size_px[0]}x{size_px[1]}: a scaled picture cannot be recovered"
            )
        planes = writable_planes(image)
        has_moved = False
        if here is not None and here.position == position:
            has_moved = restorer.restore(planes, here, image)
            here = next(upcoming, None)
        writer.write(image, has_moved=has_moved)
        counts.frames += 1
        progress(counts)
    return counts


class _Restorer:
    """Frame by frame, with the keyframes that it has seen."""

    def __init__(
        self,
        open_faces: OpenFaces,
        is_face: Callable[[U8Array], bool],
        wanted: Wanted,
        stills: Path | None,
    ) -> None:
        self._open_faces = open_faces
        self._is_face = is_face
        self._wanted = wanted
        self._stills = stills
        self._between = Between(open_faces, is_face)
        self.counts = RecoveryCounts()

    def restore(self, planes: YuvPlanes, here: FrameFaces, image: av.VideoFrame) -> bool:
        """Write one frame's faces into its planes; whether one of them was moved there."""
        seconds = image.time if image.time is not None else 0.0
        if seconds > self._wanted.to_seconds:
            return False
        fused = [face for face in here.fused if self._wanted.track(face)]
        self._between.expire(seconds)
        if seconds < self._wanted.from_seconds:
            # what is asked for may be carried from here
            for face in fused:
                protected = face.square.of(planes)
                self._between.keep_closed(face, here.number, seconds, protected)
            return False
        # all of them first: a face put back must not be read as a part of another square
        opened = self._opened(planes, here.number, fused, seconds)
        has_moved = self._lay_over(planes, here)
        for face, original in opened:
            put_back(planes, face.square, original)
            self.counts.opened += 1
            self.counts.tracks.add(face.track_id)
            if self._stills is not None:
                name = f"frame-{here.position:06d}_track-{face.track_id}.png"
                self.counts.stills.append(write_still(self._stills / name, original, image))
        return has_moved

    def _opened(
        self, planes: YuvPlanes, number: int, fused: Sequence[FusedFace], seconds: float
    ) -> list[tuple[FusedFace, YuvPlanes]]:
        if not fused:
            return []
        squares = [face.square for face in fused]
        originals = self._open_faces([square.of(planes) for square in squares], number, squares)
        opened = []
        for face, original in zip(fused, originals, strict=True):
            if self._is_face(original.y):
                self._between.keep_open(face, number, seconds, original)
                opened.append((face, original))
            else:
                self._between.drop(face.track_id)
                self.counts.not_opened += 1
        return opened

    def _lay_over(self, planes: YuvPlanes, here: FrameFaces) -> bool:
        squares = [face.square for face in here.fused]  # also of those who were not asked for
        fused_tracks = {face.track_id for face in here.fused}
        has_moved = False
        for face in here.carried:
            if not self._wanted.track(face) or face.track_id in fused_tracks:
                continue
            keyframe = self._between.opened(face.track_id, face.motion)
            if keyframe is None:
                self.counts.without_keyframe += 1
            elif lay_over(planes, keyframe, face.motion, squares):
                self.counts.carried += 1
                self.counts.tracks.add(face.track_id)
                has_moved = True
        return has_moved


def first_frame_in(clip: Path) -> int | None:
    """The session's frame that the clip says it begins with; None where it says nothing."""
    try:
        with av.open(str(clip)) as container:
            # Matroska writes the names of its tags in capitals
            notes = [v for k, v in container.metadata.items() if k.lower() == "comment"]
    except (av.error.FFmpegError, OSError, ValueError):
        return None  # whoever reads the clip will say what is wrong with it
    return next((frame for note in notes if (frame := first_frame_of(note)) is not None), None)


def writable_planes(image: av.VideoFrame) -> YuvPlanes:
    """A decoded frame's planes, to be written into. Raises SourceError for other formats."""
    image.make_writable()
    try:
        return planes_of(image)
    except ShapeError as error:
        raise SourceError(f"the clip is not what was protected: {error}") from None


class RecoveredVideo:
    """A file under its name with .part, until `close` gives it its own."""

    def __init__(
        self,
        path: Path,
        container_format: str,
        fps: Fraction,
        mark: str | None,
        *,
        lossless: bool = False,
        audio: Sequence[av.AudioStream] = (),
    ) -> None:
        """`mark` is burnt into every frame. `audio`: the clip's streams that `copy_audio` gets."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._format = container_format
        self._fps = fps
        self._mark = mark
        self._lossless = lossless
        self._audio = tuple(audio)
        self._copies: dict[int, av.AudioStream] = {}  # by the clip's stream index
        self._early: list[av.Packet[av.AudioStream]] = []  # before there is a picture
        self._container: av.container.OutputContainer | None = None
        self._stream: av.VideoStream | None = None
        self._last_pts = -1
        self._is_finished = False

    @property
    def part(self) -> Path:
        """The file as long as it has no name of its own."""
        return self._part

    def write(self, image: av.VideoFrame, *, has_moved: bool = False) -> None:
        """Encode one frame, marked in place. Raises SinkError, SourceError.

        `has_moved`: a face in it is that of another frame, and the mark says so.
        """
        if self._mark is not None:
            burn_in(writable_planes(image), MOVED + self._mark if has_moved else self._mark)
        with self._translated():
            if self._stream is None or self._container is None:
                self._open(image)
            assert self._stream is not None and self._container is not None
            pts = image.pts if image.pts is not None else self._last_pts + 1
            image.pts = self._last_pts = max(pts, self._last_pts + 1)
            image.pict_type = PictureType.NONE  # the decoded types would force ours
            for packet in self._stream.encode(image):
                self._container.mux(packet)

    def copy_audio(self, packet: av.Packet[av.AudioStream]) -> None:
        """A packet of one of the clip's streams, as it is. Raises SinkError."""
        if self._container is None:
            self._early.append(packet)
            return
        copy = self._copies.get(packet.stream.index)
        if copy is None or packet.pts is None or packet.dts is None or not packet.size:
            return
        with self._translated():
            packet.stream = copy
            self._container.mux(packet)

    def finish(self) -> None:
        """End the file, which keeps its name .part. Idempotent. Raises SinkError."""
        if self._stream is None or self._container is None or self._is_finished:
            return
        self._is_finished = True
        with self._translated():
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()

    def close(self) -> None:
        """Finish the file and give it its name. Raises SinkError."""
        self.finish()
        if self._is_finished:
            with self._translated():
                self._part.replace(self._path)

    def abandon(self) -> None:
        """Leave nothing behind: half a recovery is still faces."""
        if self._container is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            self._part.unlink(missing_ok=True)

    def _open(self, image: av.VideoFrame) -> None:
        # made here first: libav would make it for everybody to read
        os.close(open_private(self._part))
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
        quality = {"qp": "0"} if self._lossless else {"crf": str(CRF)}
        context.options = {"preset": "veryfast", **quality}
        for audio in self._audio:
            try:
                copy = self._container.add_stream_from_template(audio)
            except ValueError:
                name = audio.codec_context.name
                raise SinkError(
                    f"{self._path}: its kind of file holds no {name}, the clip's audio; choose "
                    "another ending, or add --drop-audio"
                ) from None
            assert isinstance(copy, av.AudioStream)
            self._copies[audio.index] = copy
        self._stream = stream
        early, self._early = self._early, []
        for packet in early:
            self.copy_audio(packet)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"{self._path}: {error}") from None


def write_still(path: Path, face: YuvPlanes, like: av.VideoFrame) -> Path:
    """A recovered face as a PNG, colours as in the frame it is from. Raises SinkError."""
    write_private(path, as_png(face, like))
    return path


def as_png(picture: YuvPlanes, like: av.VideoFrame) -> bytes:
    """Colours as in the frame that it is from."""
    width, height = picture.size_px
    i420 = np.concatenate([picture.y.ravel(), picture.u.ravel(), picture.v.ravel()])
    rows = i420.reshape(height * 3 // 2, width)
    image = av.VideoFrame.from_ndarray(rows, format=like.format.name)
    image.color_range, image.colorspace = like.color_range, like.colorspace
    _, png = cv2.imencode(".png", image.to_ndarray(format="bgr24"))
    data: bytes = png.tobytes()
    return data


def write_private(path: Path, data: bytes) -> None:
    """For its owner alone, from the first byte on; in place of what was there. Raises SinkError."""
    try:
        with os.fdopen(open_private(path), "wb") as file:
            file.write(data)
    except OSError as error:
        raise SinkError(f"{path}: {error.strerror}") from None


def open_private(path: Path) -> int:
    """A new file, open to be written. Raises OSError.

    What has its name goes: a link put there would lead faces elsewhere, and a file that is
    somebody's own would stay open to them.
    """
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
