"""Records in real streams: through each container, by each way of copying, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import RecordError
from pipeline.evidence.key_record import NO_PARAMETERS
from pipeline.evidence.nal import (
    ANNEX_B,
    Codec,
    header_nals,
    is_slice,
    nal_type,
    parameter_digest,
    slice_digest,
    split_nals,
)
from pipeline.evidence.sei import UUID, records_in
from support.records import filler
from support.small_streams import (
    GOP,
    SmallStream,
    length_bytes_of,
    nals_of,
    pictures_of,
    remux,
    small_stream,
    unregistered_sei_of,
    write,
)

CODECS: tuple[Codec, ...] = ("h264", "h265")
REPEATED = ":repeat-headers=1"  # parameter sets in front of each IDR, as bauta's encoders do
WITH_DELIMITERS = ":repeat-headers=1:aud=1"
SIZES = (1, 2, 238, 239, 240, 493, 494, 495, 5_000)  # a payload's length grows a byte at 255, 510
PATTERNS = (
    *(bytes((value,)) for value in (0, 1, 2, 3, 4, 0x80, 0xFF)),
    *(b"\0\0" + bytes((value,)) for value in range(5)),
    *(bytes(size) for size in SIZES),
    *(filler(size, size) for size in SIZES),
    *(b"\xff" * size for size in SIZES),
    bytes(range(256)) * 3,
    b"\0\0\0\1\x65\0\0\1\x41\0\0\0\1\x26\1",  # looks like start codes and slices
    b"record\0\0\0",
    b"record\0\0\3",
    UUID * 3,
)
LARGE = (
    filler(1, 300_000),
    bytes(300_000),
    b"\0\0\1" * 100_000,
    b"\0\0\3" * 100_000,
    b"\0\0\0\1" * 75_000,
)
CONTAINERS = ("mp4", "fragmented.mp4", "mov", "mkv", "ts")
CHAINS = (
    ("mp4", "mkv", "ts", "fragmented.mp4", "mkv", "mp4"),
    ("ts", "mp4", "fragmented.mp4", "ts", "mkv", "ts"),
    ("mkv", "fragmented.mp4", "mov", "mkv", "mp4", "ts"),
)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg binary")


@cache
def plain(codec: Codec, more_params: str = REPEATED) -> SmallStream:
    return small_stream(codec, more_params=more_params)


def some_records(frames: int) -> list[list[bytes]]:
    """All patterns, several in most frames, none in others, a large one in some."""
    given: list[list[bytes]] = [[] for _ in range(frames)]
    for at, pattern in enumerate(PATTERNS):
        given[at % (frames - 3)].append(pattern)  # not in the last three
    for at, record in enumerate(LARGE):
        given[at].insert(at % 2, record)
    return given


@cache
def sealed(codec: Codec, more_params: str = REPEATED) -> SmallStream:
    stream = plain(codec, more_params)
    return stream.with_records(some_records(len(stream.packets)))


def digests(frames: Sequence[Sequence[bytes]], codec: Codec) -> list[bytes]:
    return [slice_digest(nals, codec) for nals in frames]


def nals_made(stream: SmallStream) -> list[list[bytes]]:
    """As the encoder gave them."""
    return [split_nals(packet.data, ANNEX_B) for packet in stream.packets]


def written(stream: SmallStream, folder: Path, ending: str) -> Path:
    return write(stream, folder / f"made.{ending}", fragmented=ending.startswith("fragmented"))


def check(path: Path, stream: SmallStream) -> None:
    """Every record, in its frame and order; every slice as the encoder made it."""
    codec = stream.codec
    found = nals_of(path, codec)
    assert [records_in(nals, codec) for nals in found] == some_records(len(stream.packets))
    made = digests(nals_made(stream), codec)
    assert digests(found, codec) == made
    assert len(set(made)) == len(made)


# --- what the encoders give ---


@pytest.mark.parametrize("codec", CODECS)
def test_the_pictures_are_several_slices(codec: Codec) -> None:
    """Else the tests below would say little."""
    frames = nals_made(plain(codec))
    assert [sum(is_slice(nal, codec) for nal in nals) for nals in frames] == [4] * 2 * GOP
    codes = {packet.data.count(b"\0\0\0\1") for packet in plain(codec).packets}
    assert max(codes) < 8, "three-byte start codes are among them"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("more_params", ["", REPEATED, WITH_DELIMITERS])
def test_records_stand_between_the_heads_and_the_first_slice(
    codec: Codec, more_params: str
) -> None:
    before, after = (nals_made(made(codec, more_params)) for made in (plain, sealed))
    for without, nals, records in zip(before, after, some_records(len(before)), strict=True):
        first = [is_slice(nal, codec) for nal in without].index(True)
        assert nals[:first] == without[:first]
        assert nals[first + len(records) :] == without[first:]
        assert records_in(nals[first : first + len(records)], codec) == records


@pytest.mark.parametrize("codec", CODECS)
def test_the_encoders_own_sei_is_not_ours(codec: Codec) -> None:
    first = nals_made(plain(codec))[0]
    kind = 6 if codec == "h264" else 39
    own = [nal for nal in first if nal_type(nal, codec) == kind]
    # user_data_unregistered, as ours: only the UUID tells
    assert own and all(nal[1 if codec == "h264" else 2] == 5 for nal in own)
    assert records_in(first, codec) == []
    with_ours = nals_made(sealed(codec))[0]
    assert [nal for nal in with_ours if nal in own] == own
    assert records_in(with_ours, codec) == some_records(2 * GOP)[0]


# --- containers ---


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("more_params", ["", REPEATED, WITH_DELIMITERS])
@pytest.mark.parametrize("ending", CONTAINERS)
def test_records_come_back_from_a_container(
    codec: Codec, more_params: str, ending: str, tmp_path: Path
) -> None:
    path = written(sealed(codec, more_params), tmp_path, ending)
    assert length_bytes_of(path, codec) == (0 if ending == "ts" else 4)
    check(path, sealed(codec, more_params))
    # and the digests are those of the stream that never had a record
    assert digests(nals_of(path, codec), codec) == digests(
        nals_made(plain(codec, more_params)), codec
    )


@pytest.mark.parametrize("codec", CODECS)
def test_records_come_back_from_a_bare_stream(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / f"made.{codec}"
    path.write_bytes(b"".join(packet.data for packet in sealed(codec).packets))
    check(path, sealed(codec))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("more_params", ["", REPEATED])
@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_records_survive_copies_from_container_to_container(
    codec: Codec, more_params: str, chain: tuple[str, ...], tmp_path: Path
) -> None:
    path = written(sealed(codec, more_params), tmp_path, chain[0])
    for at, ending in enumerate(chain[1:]):
        path = remux(path, tmp_path / f"{at}.{ending}", fragmented=ending.startswith("fragmented"))
        check(path, sealed(codec, more_params))


@needs_ffmpeg
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("more_params", ["", REPEATED])
def test_records_survive_copies_by_ffmpeg(codec: Codec, more_params: str, tmp_path: Path) -> None:
    path = written(sealed(codec, more_params), tmp_path, "mp4")
    steps = [
        ("0.mkv", []),
        ("1.ts", []),
        ("2.mp4", ["-movflags", "+faststart"]),
        ("3.mp4", ["-movflags", "frag_keyframe+empty_moov"]),
        ("4.mkv", []),
        ("5.mov", []),
    ]
    if codec == "h265":
        steps.append(("6.mp4", ["-tag:v", "hvc1"]))  # no parameter sets in the packets
    for name, options in steps:
        path = ffmpeg_copy(path, tmp_path / name, *options)
        check(path, sealed(codec, more_params))


@needs_ffmpeg
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_a_clip_cut_at_an_idr_keeps_its_records(codec: Codec, ending: str, tmp_path: Path) -> None:
    path = written(sealed(codec), tmp_path, "mp4")
    cut = ffmpeg_copy(path, tmp_path / f"cut.{ending}", start_s=GOP / 25 + 0.02)
    found, whole = nals_of(cut, codec), nals_of(path, codec)
    assert len(found) >= GOP
    assert digests(found, codec) == digests(whole, codec)[-len(found) :]
    records = [records_in(nals, codec) for nals in found]
    assert records == some_records(2 * GOP)[-len(found) :]
    assert any(records)


def ffmpeg_copy(path: Path, into: Path, *options: str, start_s: float | None = None) -> Path:
    start = [] if start_s is None else ["-ss", f"{start_s}"]
    command = ["ffmpeg", "-v", "error", "-nostdin", *start, "-i", str(path), "-c", "copy"]
    command += [*options, str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return into


# --- what others see of it ---


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("more_params", ["", REPEATED, WITH_DELIMITERS])
@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_pictures_are_the_same_with_and_without_records(
    codec: Codec, more_params: str, ending: str, tmp_path: Path
) -> None:
    without = pictures_of(written(plain(codec, more_params), tmp_path, f"plain.{ending}"))
    shown = pictures_of(written(sealed(codec, more_params), tmp_path, ending))
    assert len(shown) == len(without) == 2 * GOP
    assert all(np.array_equal(*both) for both in zip(shown, without, strict=True))
    assert not any(np.array_equal(*both) for both in pairwise(shown)), "they move"


@pytest.mark.parametrize("codec", CODECS)
def test_another_decoder_reads_the_same_bytes(codec: Codec, tmp_path: Path) -> None:
    """libav's own, which knows nothing of ours: the first frame's, for it is shown first."""
    found = unregistered_sei_of(written(sealed(codec), tmp_path, "mkv"))
    ours = [data[len(UUID) :] for data in found[0] if data.startswith(UUID)]
    assert ours == some_records(2 * GOP)[0]


# --- parameter sets ---


def shown_with(path: Path, codec: Codec) -> list[bytes]:
    """The parameter digest of each IDR: of the sets with it, else of the container's."""
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    of_stream = parameter_digest(header_nals(extradata, codec), codec)
    idrs = [nals for at, nals in enumerate(nals_of(path, codec)) if at % GOP == 0]
    own = [parameter_digest(nals, codec) for nals in idrs]
    return [digest if digest != NO_PARAMETERS else of_stream for digest in own]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("ending", CONTAINERS)
def test_parameter_digests_are_the_same_everywhere(
    codec: Codec, ending: str, tmp_path: Path
) -> None:
    stream = sealed(codec)
    (made,) = {parameter_digest(nals, codec) for nals in nals_made(stream)[::GOP]}
    assert made != NO_PARAMETERS
    path = written(stream, tmp_path, ending)
    assert shown_with(path, codec) == [made, made]
    for other in ("mp4", "mkv", "ts"):
        assert shown_with(remux(path, tmp_path / f"again.{other}"), codec) == [made, made]


@needs_ffmpeg
def test_parameter_sets_beside_the_pictures_count_as_well(tmp_path: Path) -> None:
    """The tag hvc1 takes them out of the pictures."""
    path = written(sealed("h265"), tmp_path, "mp4")
    beside = tmp_path / "hvc1.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy", "-tag:v", "hvc1"]
    subprocess.run([*command, str(beside)], check=True)
    assert shown_with(beside, "h265") == shown_with(path, "h265")


@needs_ffmpeg
@pytest.mark.parametrize("codec", CODECS)
def test_a_cropped_picture_has_another_parameter_digest(codec: Codec, tmp_path: Path) -> None:
    path = written(sealed(codec), tmp_path, "mp4")
    name = "h264" if codec == "h264" else "hevc"
    cropped = tmp_path / "cropped.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy"]
    command += ["-bsf:v", f"{name}_metadata=crop_left=16:crop_right=0", str(cropped)]
    subprocess.run(command, check=True)
    assert digests(nals_of(cropped, codec), codec) == digests(nals_of(path, codec), codec)
    assert not set(shown_with(cropped, codec)) & set(shown_with(path, codec))


@pytest.mark.parametrize(
    "data", [b"\1", b"\1" + bytes(6), b"\1\x64\0\x1f\xff\xe1\0\x09short", b"x"]
)
def test_a_damaged_codec_header_is_a_record_error(data: bytes) -> None:
    for codec in CODECS:
        with suppress(RecordError):
            header_nals(data, codec)
