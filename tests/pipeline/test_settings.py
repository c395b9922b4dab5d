import pytest
from pydantic import ValidationError

from pipeline.settings import (
    CameraSettings,
    ProtectSettings,
    RecordSettings,
    Settings,
    ZoneSettings,
)

URL = "rtsp://ops:hunter2@10.0.0.9/cam1"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2.0),
        (" 2 s ", 2.0),
        ("1.5m", 90.0),
        ("12h", 43_200.0),
        ("30d", 2_592_000.0),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    settings = ProtectSettings.model_validate({"hold": text})
    assert settings.hold == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["2", "2 sec", "s", "-2s", "2s3", "1,5s", "", "0s", 0, -1, None])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValidationError):
        ProtectSettings.model_validate({"hold": text})


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("500MB", 500_000_000), ("1.5GB", 1_500_000_000), ("1 TB", 10**12), (4096, 4096)],
)
def test_sizes(text: object, size_bytes: int) -> None:
    record = RecordSettings.model_validate({"dir": "somewhere", "max_size": text})
    assert record.max_size == size_bytes


@pytest.mark.parametrize("text", ["500", "500mb", "5KB", "-1GB", "0GB", 0])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValidationError):
        RecordSettings.model_validate({"dir": "somewhere", "max_size": text})


@pytest.mark.parametrize(("detect_every", "lookahead"), [(2, 0), (5, 3), (100, 98)])
def test_a_face_is_looked_for_before_it_is_shown(detect_every: int, lookahead: int) -> None:
    with pytest.raises(ValidationError) as caught:
        ProtectSettings(detect_every=detect_every, lookahead=lookahead)

    message = str(caught.value)
    assert f"detect_every must be at most lookahead + 1 = {lookahead + 1}" in message
    assert f"got {detect_every}" in message
    assert f"Raise lookahead to {detect_every - 1}" in message


@pytest.mark.parametrize(("detect_every", "lookahead"), [(1, 0), (4, 3), (1, 100), (100, 99)])
def test_a_look_ahead_that_reaches_is_taken(detect_every: int, lookahead: int) -> None:
    settings = ProtectSettings(detect_every=detect_every, lookahead=lookahead)
    assert settings.detect_every == detect_every


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 0.0},
        {"strength": 1.5},
        {"grow": 0.9},
        {"obfuscation": "none"},
        {"shape": "circle"},
        {"detect_every": 0},
        {"lookahead": -1},
        {"hold": "0s"},
        {"gate_refresh": float("nan")},
    ],
)
def test_values_that_would_leave_a_face_clear_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ProtectSettings.model_validate(wrong)


@pytest.mark.parametrize("polygon", [[[0, 0], [1, 1]], [[0, 0], [1, 0], [1.2, 1]], [[0, 0]] * 2])
def test_polygons_are_shares_with_three_corners(polygon: object) -> None:
    with pytest.raises(ValidationError):
        ZoneSettings.model_validate({"always": [polygon]})


@pytest.mark.parametrize("name", ["", "../up", "a/b", "two words", ".hidden", "x" * 65, "naïve"])
def test_a_camera_id_is_safe_as_a_file_name(name: str) -> None:
    with pytest.raises(ValidationError):
        CameraSettings(id=name, source="x")


def test_a_camera_id_names_one_camera() -> None:
    twice = [CameraSettings(id="lobby", source="a"), CameraSettings(id="lobby", source="b")]
    with pytest.raises(ValidationError, match="unique, got 'lobby' twice"):
        Settings(cameras=twice)


def test_a_camera_is_shown_without_its_urls() -> None:
    camera = CameraSettings(id="lobby", source=URL, publish=[URL])
    for shown in (repr(camera), str(camera), f"{camera}", repr([camera])):
        assert "hunter2" not in shown
        assert "lobby" in shown
    assert "hunter2" not in repr(Settings(cameras=[camera]))


def test_settings_cannot_be_changed_behind_a_running_camera() -> None:
    with pytest.raises(ValidationError):
        ProtectSettings().hold = 5.0


def test_what_is_not_asked_for_is_off() -> None:
    """Sound, recordings, clear zones: nothing leaves the process by default."""
    camera = CameraSettings(id="a", source="b")
    assert (camera.audio, camera.publish, camera.record, camera.hls) == ("drop", [], None, None)
    assert camera.zones.never == []
    assert camera.privacy == "faces"
