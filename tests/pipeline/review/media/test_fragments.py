"""Where fragments lie: of recordings as the service writes them, growing, killed and broken."""

from __future__ import annotations

import io
import random
import re
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RecordingError
from pipeline.review.media.fragments import H265, Fragments, read_fragments, read_header
from pipeline.review.media.playlist import playlist
from support.clips import make_clip
from support.recordings import HEIGHT, WIDTH, Recorder, boxes_of, record, stream_of


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, an IDR every two."""
    folder = tmp_path_factory.mktemp("recording")
    (path,) = record(folder, stream_of(100, gop=2.0), segment=60)
    return path


def test_fragments_are_where_the_boxes_are(recording: Path) -> None:
    known = read_fragments(recording)
    data = recording.read_bytes()
    boxes = boxes_of(data)
    moofs = [at for kind, at, _ in boxes if kind == b"moof"]
    mdats = [at + size for kind, at, size in boxes if kind == b"mdat"]

    assert known.init_span == (0, moofs[0])
    assert [item.offset for item in known.fragments] == moofs
    assert [item.offset + item.size for item in known.fragments] == mdats
    assert [item.seconds for item in known.fragments] == [0.0, 1.0, 2.0, 3.0]
    assert [item.length_seconds for item in known.fragments] == [1.0] * 4
    assert [item.frames for item in known.fragments] == [25] * 4
    assert [item.is_key for item in known.fragments] == [True, False, True, False]
    assert (known.fps, known.timescale, known.seconds) == (25.0, 90_000, 4.0)
    assert (known.width, known.height) == (WIDTH, HEIGHT)
    assert known.is_fragmented and known.is_finished
    assert (known.refusal, known.problem) == (None, None)


def test_the_media_type_is_that_of_the_parameter_sets(recording: Path) -> None:
    with av.open(str(recording)) as container:
        extradata = container.streams.video[0].codec_context.extradata
    assert extradata is not None
    expected = f'video/mp4; codecs="avc1.{extradata[1:4].hex()}"'
    assert read_fragments(recording).mime == expected
    header = read_header(recording)
    assert (header.mime, header.fragments) == (expected, ())


@pytest.mark.parametrize(("first", "end"), [(0, 4), (0, 2), (2, 4), (2, 3)])
def test_header_and_fragments_from_a_key_on_can_be_decoded(
    recording: Path, first: int, end: int
) -> None:
    """What a player appends, and nothing else."""
    known, data = read_fragments(recording), recording.read_bytes()
    offset, size = known.init_span
    bytes_ = data[offset : offset + size]
    for item in known.fragments[first:end]:
        bytes_ += data[item.offset : item.offset + item.size]
    with av.open(io.BytesIO(bytes_), "r") as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([index / 25 for index in range(first * 25, end * 25)])


def test_a_file_that_grows_is_read_on(tmp_path: Path) -> None:
    """Each look costs what is new; what is known stays as it was."""
    recorder = Recorder(tmp_path, stream_of(150), segment=60)
    known: Fragments | None = None
    counts = []
    for _ in range(15):
        recorder.write(10)
        (path,) = tmp_path.glob("*.mp4")
        try:
            newer = read_fragments(path, known)
        except RecordingError:
            assert known is None  # nothing is written before the first fragment is whole
            continue
        if known is not None:
            assert newer.fragments[: len(known.fragments)] == known.fragments
            assert newer.end >= known.end
        assert not newer.is_finished
        known = newer
        counts.append(len(known.fragments))
    assert counts == sorted(counts) and 4 <= counts[-1] <= 5
    recorder.close()
    whole = read_fragments(path, known)
    assert whole.is_finished and whole == read_fragments(path)
    assert sum(item.frames for item in whole.fragments) == 150


def test_every_cut_has_the_fragments_that_are_whole(recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes()
    whole = read_fragments(recording)
    ends = [item.offset + item.size for item in whole.fragments]
    cuts = [*range(whole.end - 200, len(data)), *range(ends[1] - 9, ends[1] + 300, 7), ends[2] - 1]
    path = tmp_path / "cut.mp4"
    for cut in cuts:
        path.write_bytes(data[:cut])
        known = read_fragments(path)
        assert known.fragments == whole.fragments[: sum(end <= cut for end in ends)]
        assert known.problem is None and known.is_finished == (cut >= whole.end)
        path.write_bytes(data)
        again = read_fragments(path, known)
        assert again == whole


@pytest.mark.parametrize("cut", [0, 4, 20, 60, 400])
def test_without_a_header_there_is_nothing(recording: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(recording.read_bytes()[:cut])
    with pytest.raises(RecordingError, match=r"cut\.mp4: the recording is damaged"):
        read_fragments(path)


def test_another_file_under_the_name_is_read_anew(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(recording.read_bytes())
    known = read_fragments(path)
    (shorter,) = record(tmp_path / "b", stream_of(30), segment=60)
    path.write_bytes(shorter.read_bytes())
    assert len(read_fragments(path, known).fragments) == 2


def test_where_garbage_follows_what_is_whole_can_be_played(recording: Path, tmp_path: Path) -> None:
    whole = read_fragments(recording)
    end = whole.fragments[1].offset + whole.fragments[1].size
    path = tmp_path / "broken.mp4"
    path.write_bytes(recording.read_bytes()[:end] + bytes(5000))
    known = read_fragments(path)
    # a box of no length is "the rest of the file": nothing more comes
    assert known.fragments == whole.fragments[:2]
    path.write_bytes(recording.read_bytes()[:end] + b"\0\0\0\3moof" + bytes(5000))
    known = read_fragments(path)
    assert known.fragments == whole.fragments[:2]
    assert known.problem == "the recording is damaged: a box is shorter than its header"


def test_h265_is_refused_with_the_reason(tmp_path: Path) -> None:
    (path,) = record(tmp_path, stream_of(30, codec="h265"), segment=60)
    known = read_fragments(path)
    assert known.refusal == H265
    assert len(known.fragments) == 2  # which an export needs
    with pytest.raises(RecordingError, match=r"H\.265, which browsers do not play"):
        playlist(known, growing=False)


def test_sound_is_named(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=50, size=(320, 240), face_px=40, audio=True)
    path = tmp_path / "b.mp4"
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}
    with av.open(str(clip.path)) as source, av.open(str(path), "w", options=options) as target:
        copies = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    known = read_fragments(path)
    assert re.fullmatch(r'video/mp4; codecs="avc1\.[0-9a-f]{6}, mp4a\.40\.2"', known.mime)
    assert known.refusal is None
    assert sum(item.frames for item in known.fragments) == 50
    ends = [item.offset + item.size for item in known.fragments]
    assert ends[:-1] == [item.offset for item in known.fragments[1:]]


def test_an_mp4_with_its_index_is_not_fragmented(tmp_path: Path) -> None:
    for options in ({}, {"movflags": "+faststart"}):
        clip = make_clip(tmp_path / "a.mp4", frames=10, size=(320, 240), face_px=40)
        path = tmp_path / "b.mp4"
        with (
            av.open(str(clip.path)) as source,
            av.open(str(path), "w", options=dict(options)) as target,
        ):
            copy = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)
        known = read_fragments(path)
        assert not known.is_fragmented and known.fragments == ()


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("quarterly figures\n" * 400)
    with pytest.raises(RecordingError, match=r"^notes\.mp4: is no MP4$"):
        read_fragments(path)
    with pytest.raises(RecordingError, match=r"^gone\.mp4: No such file"):
        read_fragments(tmp_path / "gone.mp4")


@given(seed=st.integers(0, 2**32), flips=st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_any_byte_may_be_another(
    recording: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, flips: int
) -> None:
    """In the headers, where it hurts: an answer within the file, or the one named error."""
    data = bytearray(recording.read_bytes())
    whole = read_fragments(recording)
    heads = [range(whole.init_span[1]), *(range(i.offset, i.offset + 220) for i in whole.fragments)]
    places = [at for head in heads for at in head]
    chosen = random.Random(seed)
    for _ in range(flips):
        data[chosen.choice(places)] = chosen.randrange(256)
    path = tmp_path_factory.getbasetemp() / "flipped.mp4"
    path.write_bytes(data)
    try:
        known = read_fragments(path)
    except RecordingError as error:
        assert "\n" not in str(error)
        return
    assert known.init_span[1] <= len(data)
    for item in known.fragments:
        assert 0 <= item.offset < item.offset + item.size <= len(data)
        assert item.length_seconds >= 0.0
    for one, other in pairwise(known.fragments):
        assert one.offset + one.size <= other.offset


@given(st.binary(max_size=2000), st.sampled_from([b"", b"\0\0\0\x08ftyp", b"\0\0\0\x10moov"]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_at_all(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    path.write_bytes(start + data)
    with pytest.raises(RecordingError):
        read_fragments(path)


# --- HLS ---


def test_a_playlist_names_the_bytes_of_each_group(recording: Path) -> None:
    known = read_fragments(recording)
    lines = playlist(known, growing=False).splitlines()
    assert lines[0] == "#EXTM3U" and lines[-1] == "#EXT-X-ENDLIST"
    assert "#EXT-X-PLAYLIST-TYPE:VOD" in lines and "#EXT-X-TARGETDURATION:2" in lines
    assert f'#EXT-X-MAP:URI="media",BYTERANGE="{known.init_span[1]}@0"' in lines
    spans = [re.fullmatch(r"#EXT-X-BYTERANGE:(\d+)@(\d+)", line) for line in lines]
    found = [(int(span[2]), int(span[1])) for span in spans if span]
    groups = known.fragments[:2], known.fragments[2:]
    assert found == [(group[0].offset, sum(item.size for item in group)) for group in groups]
    assert [line for line in lines if line.startswith("#EXTINF")] == ["#EXTINF:2.00000,"] * 2


def test_while_it_grows_the_last_group_is_left_out(recording: Path) -> None:
    text = playlist(read_fragments(recording), growing=True, media="7/media")
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in text and "ENDLIST" not in text
    assert text.count("\n7/media\n") == 1


def test_libav_plays_the_playlist(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "media").write_bytes(recording.read_bytes())
    path = tmp_path / "a.m3u8"
    path.write_text(playlist(read_fragments(recording), growing=False))
    with av.open(str(path), options={"allowed_extensions": "ALL", "extension_picky": "0"}) as hls:
        assert len(list(hls.decode(video=0))) == 100
