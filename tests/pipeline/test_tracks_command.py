from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.evidence.group_record import EntryKind
from pipeline.frames import U8Array
from pipeline.recover import contact_sheet
from pipeline.recover.clip_records import read_clip
from pipeline.recover.clip_tracks import tracks_of
from pipeline.recover.contact_sheet import MOST_TRACKS, THUMB_PX, thumbnail
from support.clips import make_clip, not_a_video
from support.evidence import EvidenceClip, Packet, Walk, copied, make_evidence, write_sidecar
from support.flow import bauta

SIZE_PX = (320, 192)
WALKS = (
    Walk(1, 0, 10**6, (20, 60, 40, 48), grows_px=0.5),
    Walk(7, 25, 34, (200, 30, 50, 60), (-2, 1)),
    Walk(12, 30, 30, (100, 100, 30, 36)),
)
TWO = {"dpo": (1, 2), "police": (2, 3)}


@pytest.fixture(scope="module")
def made() -> EvidenceClip:
    return make_evidence(tracks=WALKS, size_px=SIZE_PX, groups=TWO)


@pytest.fixture
def clip(made: EvidenceClip, tmp_path: Path) -> Path:
    return made.write(tmp_path / "clip.mp4")


def decoded_sheet(path: Path) -> U8Array:
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8)


# --- the table ---


def test_the_table(clip: Path) -> None:
    done = bauta("tracks", clip)
    assert done.code == 0 and not done.err
    header, *rows = done.out.splitlines()
    assert header.split() == [
        *("track", "first", "last", "frames"),
        *("largest", "px", "opens", "with"),
    ]
    needs = "dpo + police (2 of 3 keys)"
    assert [row.split(None, 5) for row in rows] == [
        ["1", "0:00.0", "0:02.3", "60", "68x76", needs],
        ["7", "0:01.0", "0:01.3", "10", "50x60", needs],
        ["12", "0:01.2", "0:01.2", "1", "30x36", needs],
    ]


def test_as_json(clip: Path) -> None:
    result = bauta("tracks", clip, "--json").result
    assert result["clip"] == str(clip) and result["problems"] == [] and result["sheet"] is None
    assert [item["track"] for item in result["tracks"]] == [1, 7, 12]
    assert result["tracks"][1] == {
        "session": 1,
        "track": 7,
        "first_seconds": 1.0,
        "last_seconds": 1.36,
        "first_frame": 25,
        "last_frame": 34,
        "frames": 10,
        "largest_px": [50, 60],
        "groups": ["dpo + police (2 of 3 keys)"],
    }


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_times_are_those_of_a_player(suffix: str, made: EvidenceClip, tmp_path: Path) -> None:
    """The clock of a transport stream begins somewhere."""
    path = made.write(tmp_path / f"clip{suffix}")
    assert bauta("tracks", path).out.splitlines()[1].split()[1:3] == ["0:00.0", "0:02.3"]


def test_kinds_of_one_face_are_one_track(tmp_path: Path) -> None:
    kinds = (EntryKind.FACE, EntryKind.MOTION, EntryKind.SCENE)
    walks = [
        Walk(3, 8 * at, 8 * at + 11, (20, 20, 30 + at, 40), kind=kind)
        for at, kind in enumerate(kinds)
    ]
    read = read_clip(make_evidence(tracks=walks, epochs=2).write(tmp_path / "clip.mp4"))
    (track,) = tracks_of(read)
    assert (track.first, track.last, track.frames) == (0, 27, 28)
    # the place of a scene entry is not the face's alone
    assert track.largest_px == (31, 40)


def test_frames_that_are_not_in_the_clip_are_not_counted(
    made: EvidenceClip, tmp_path: Path
) -> None:
    """Nor those whose record is not: a record is in the last frame of its eight."""
    changed = copied(made)
    del changed.packets[27:29]
    result = bauta("tracks", changed.write(tmp_path / "cut.mp4"), "--json").result
    assert [item["frames"] for item in result["tracks"]] == [60 - 8 - 1, 10 - 3 - 1, 1]


def test_the_same_number_in_another_session_is_another_person(tmp_path: Path) -> None:
    made = copied(make_evidence(epochs=1))
    made.packets += make_evidence(epochs=1, seed=4).packets
    path = made.write(tmp_path / "clip.mp4")
    done = bauta("tracks", path, "--sheet", tmp_path / "s.png")
    header, *rows, _ = done.out.splitlines()
    assert header.split()[0] == "session"
    assert [row.split()[:4] for row in rows] == [
        ["1", "1", "0:00.0", "0:00.7"],
        ["2", "1", "0:00.8", "0:01.5"],
    ]


def test_recipients_that_changed_on_the_way(tmp_path: Path) -> None:
    made = copied(make_evidence(epochs=2))
    later = make_evidence(epochs=2, groups=TWO)
    for at in range(20, 40):
        made.packets[at].records = later.packets[at].records
    result = bauta("tracks", made.write(tmp_path / "clip.mp4"), "--json").result
    assert result["tracks"][0]["groups"] == ["dpo", "dpo + police (2 of 3 keys)"]


def test_a_name_that_would_steer_the_terminal(tmp_path: Path) -> None:
    groups = {"dpo\x1b[31m": (1, 1)}
    path = make_evidence(epochs=1, groups=groups).write(tmp_path / "clip.mp4")
    assert bauta("tracks", path).out.splitlines()[1].endswith("dpo?[31m")


def test_problems_are_told(made: EvidenceClip, tmp_path: Path) -> None:
    changed = copied(made)
    changed.packets[7].records[0] = changed.packets[7].records[0][:60]
    done = bauta("tracks", changed.write(tmp_path / "clip.mp4"))
    assert done.code == 0 and "1 × damaged record" in done.error_line


def test_records_without_a_face(tmp_path: Path) -> None:
    path = make_evidence(epochs=1, tracks=()).write(tmp_path / "clip.mp4")
    done = bauta("tracks", path, "--sheet", tmp_path / "s.png")
    assert done.code == 0 and "hold no faces" in done.out
    assert decoded_sheet(tmp_path / "s.png").shape[1] > 600


def test_from_a_sidecar(made: EvidenceClip, tmp_path: Path) -> None:
    path = make_evidence(tracks=WALKS, size_px=SIZE_PX).write(tmp_path / "a.mp4", carrier="sidecar")
    named = path.with_name("a.mp4.bauta").rename(tmp_path / "elsewhere")
    assert bauta("tracks", path).code == 1
    assert len(bauta("tracks", path, "--sidecar", named, "--json").result["tracks"]) == 3


# --- the sheet ---


def thumbnails_in(sheet: U8Array, index: int) -> list[U8Array]:
    """Those of the card of that index, of two beside each other."""
    x, y = 32 + index % 2 * (592 + 24) + 18, 96 + index // 2 * (282 + 24) + 66
    return [
        sheet[y : y + THUMB_PX, left : left + THUMB_PX]
        for left in (x + slot * (THUMB_PX + 14) for slot in range(3))
    ]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_the_sheet_shows_the_protected_picture(codec: Any, tmp_path: Path) -> None:
    made = make_evidence(tracks=WALKS, size_px=SIZE_PX, codec=codec)
    path, sheet = made.write(tmp_path / "clip.mp4"), tmp_path / "sheet.png"
    done = bauta("tracks", path, "--sheet", sheet)
    assert done.code == 0 and str(sheet) in done.out.splitlines()[-1]
    with av.open(str(path)) as container:
        frames = [
            np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            for frame in container.decode(video=0)
        ]
    picture = decoded_sheet(sheet)
    tracks = tracks_of(read_clip(path))
    assert [[item.position for item in track.sightings] for track in tracks] == [
        [0, 28, 56], [25, 28], [30]
    ]  # fmt: skip
    for index, track in enumerate(tracks):
        shown = thumbnails_in(picture, index)
        for slot, sighting in enumerate(track.sightings):
            expected = thumbnail(frames[sighting.position], sighting.box_xywh_px)
            assert np.array_equal(shown[slot], expected), f"track {track.track}, {slot}"
        for empty in shown[len(track.sightings) :]:
            assert np.ptp(empty, axis=(0, 1)).max() == 0


def test_only_what_is_shown_is_decoded(
    made: EvidenceClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    real = contact_sheet._decoded

    def counting(file: Any, packet: Any) -> Any:
        nonlocal decoded
        decoded += packet is not None
        return real(file, packet)

    monkeypatch.setattr(contact_sheet, "_decoded", counting)
    walk = Walk(1, 43, 44, (20, 20, 40, 48))
    path = make_evidence(tracks=[walk]).write(tmp_path / "clip.ts")
    read = read_clip(path)
    contact_sheet.contact_sheet(read, tracks_of(read))
    assert decoded == 4  # of 60: from the keyframe at 40 on


def test_a_damaged_picture_leaves_the_others(made: EvidenceClip, tmp_path: Path) -> None:
    path = made.write(tmp_path / "clip.mp4")
    read = read_clip(path)
    data = path.read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    tracks = tracks_of(read)
    path.write_bytes(data.replace(packets[20][-400:], bytes(400)))
    assert contact_sheet.contact_sheet(read, tracks).startswith(b"\x89PNG")


BOXES = [
    (-0, 0, 20, 20),
    (300, 180, 65535, 65535),
    (65535, 65535, 65535, 65535),
    (0, 0, 65535, 1),
    (100, 50, 0, 0),
    (319, 191, 1, 1),
]


@pytest.mark.parametrize("box", BOXES)
def test_any_rectangle(box: tuple[int, int, int, int]) -> None:
    """A record may say what it likes."""
    picture = np.full((192, 320, 3), 200, np.uint8)
    made = thumbnail(picture, box)
    assert made.shape == (THUMB_PX, THUMB_PX, 3)
    assert (made.max() > 100) == (box[0] < 320)


def test_the_rectangle_is_in_the_middle_where_there_is_room() -> None:
    picture = np.zeros((600, 800, 3), np.uint8)
    picture[300:340, 400:430] = 255
    made = thumbnail(picture, (400, 300, 30, 40))
    rows, columns = np.nonzero(made.min(axis=2) > 200)
    assert abs(rows.mean() - THUMB_PX / 2) < 4 and abs(columns.mean() - THUMB_PX / 2) < 4


def test_more_tracks_than_a_sheet_holds(tmp_path: Path) -> None:
    walks = [Walk(at, 0, 0, (20, 20, 40, 48)) for at in range(MOST_TRACKS + 5)]
    path = make_evidence(epochs=1, tracks=walks).write(tmp_path / "clip.mp4")
    done = bauta("tracks", path, "--sheet", tmp_path / "s.png")
    assert len(done.out.splitlines()) == 1 + len(walks) + 1
    rows = MOST_TRACKS // 2
    assert decoded_sheet(tmp_path / "s.png").shape[0] == 96 + rows * (282 + 24) + 44


def test_long_names_stay_inside(tmp_path: Path) -> None:
    groups = {letter * 80: (1, 1) for letter in "abc"}
    made = make_evidence(epochs=1, groups=groups, site="s" * 200, camera="門" * 60)
    path = made.write(tmp_path / ("n" * 150 + ".mp4"))
    bauta("tracks", path, "--sheet", tmp_path / "s.png")
    picture = decoded_sheet(tmp_path / "s.png")
    back = picture[0, 0]
    assert (picture[:, -20:] == back).all() and (picture[:, :20] == back).all()


# --- wrong use ---


def test_nothing_is_replaced_unasked(clip: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    sheet.write_text("mine")
    done = bauta("tracks", clip, "--sheet", sheet)
    assert done.code == 2 and "add --overwrite" in done.error_line
    assert sheet.read_text() == "mine"
    assert bauta("tracks", clip, "--sheet", sheet, "--overwrite").code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_wrong_use_is_one_line(clip: Path, tmp_path: Path) -> None:
    bare = make_clip(tmp_path / "bare.mp4", frames=5, faces=0).path
    other = write_sidecar(tmp_path / "other", make_evidence(seed=9).records())
    wrong: list[tuple[list[str | Path], int, str]] = [
        ([tmp_path / "none.mp4"], 2, "no such file"),
        ([not_a_video(tmp_path / "a.mp4")], 1, "is not a video"),
        ([bare], 1, "holds no records of bauta/1"),
        ([clip, "--sidecar", other], 2, "is of another clip"),
        ([clip, "--sidecar", clip], 1, "no sidecar of bauta"),
        ([clip, "--sidecar", tmp_path / "none"], 2, "No such file"),
        ([clip, "--sheet", tmp_path / "a.jpg"], 2, "must end in .png"),
        ([clip, "--sheet", tmp_path / "none" / "a.png"], 2, "no such folder"),
    ]
    for arguments, code, message in wrong:
        done = bauta("tracks", *arguments)
        assert done.code == code and message in done.error_line and not done.out


def test_a_sheet_that_cannot_be_written(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "s.png.part").mkdir()
    done = bauta("tracks", clip, "--sheet", tmp_path / "s.png")
    assert done.code == 1 and "s.png" in done.error_line


def test_damaged_records_alone(made: EvidenceClip, tmp_path: Path) -> None:
    packets = [Packet(item.packet, [b"\x01cut"] if item.records else []) for item in made.packets]
    done = bauta("tracks", replace(made, packets=packets).write(tmp_path / "clip.mp4"))
    assert done.code == 1 and "damaged record" in done.error_line
