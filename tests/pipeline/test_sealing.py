"""Evidence in a session: recipients from their files, and when the picture goes dark."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.build import build_evidence, build_gate
from pipeline.compose.gate import Zones
from pipeline.config import settings_from
from pipeline.errors import SettingsError, VaultError
from pipeline.frames import FaceBox, RawFrame, planes_of
from pipeline.sealing import DARK, NO_SIDECAR, Evidence, Site, load_groups
from pipeline.settings import CameraSettings, GroupSettings
from pipeline.vault.identity import create_identity
from support.flow import is_curtain


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    for name in ("a", "b", "c"):
        create_identity(tmp_path / f"{name}.key", None)
    return tmp_path


def group(folder: Path, *names: str, threshold: int = 1) -> GroupSettings:
    return GroupSettings(keys=[folder / f"{name}.pub" for name in names], threshold=threshold)


def camera(**evidence: Any) -> CameraSettings:
    return CameraSettings.model_validate(
        {"id": "lobby", "source": "rtsp://x/y", "evidence": evidence}
    )


def started(recipients: Mapping[str, GroupSettings], **evidence: Any) -> Evidence:
    made = build_evidence(camera(**evidence), Site("head-office", recipients))
    assert made is not None
    return made


# --- recipients ---


def test_groups_come_sorted_with_their_keys(keys: Path) -> None:
    found, problems = load_groups(
        {"police": group(keys, "b", "c", threshold=2), "dpo": group(keys, "a")}
    )
    assert problems == []
    assert [(g.name, g.threshold, len(g.recipients)) for g in found] == [
        ("dpo", 1, 1),
        ("police", 2, 2),
    ]


def test_a_key_that_cannot_be_read_is_said_while_enough_are_left(keys: Path) -> None:
    (keys / "b.pub").write_text("nonsense\n")
    (found,), (problem,) = load_groups({"police": group(keys, "a", "b", "c", threshold=2)})
    assert len(found.recipients) == 2
    assert problem.startswith("recipients.police: ") and "b.pub" in problem


@pytest.mark.parametrize("spoil", ["missing", "garbage", "secret"])
def test_a_group_with_too_few_keys_is_refused_in_one_line(keys: Path, spoil: str) -> None:
    path = keys / "b.pub"
    if spoil == "missing":
        path.unlink()
    else:
        path.write_text(
            (keys / "b.key").read_text() if spoil == "secret" else "age1 is not a key\n"
        )
    with pytest.raises(VaultError, match=r"^recipients\.police cannot be used: .*b\.pub") as caught:
        load_groups({"police": group(keys, "a", "b", threshold=2)})
    assert "\n" not in str(caught.value) and "SECRET" not in str(caught.value)


def test_a_key_that_is_named_twice_is_refused(keys: Path) -> None:
    with pytest.raises(VaultError, match="twice"):
        load_groups({"police": group(keys, "a", "a", threshold=2)})


def test_a_key_in_two_groups_is_refused(keys: Path) -> None:
    """Two groups are there so that nobody opens alone."""
    with pytest.raises(VaultError, match="in the groups dpo and police"):
        load_groups({"dpo": group(keys, "a"), "police": group(keys, "b", "a")})


# --- dark or not ---


def raw_frame(number: int = 0) -> RawFrame:
    picture = np.random.default_rng(number).integers(0, 255, (180, 160), np.uint8)
    image = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    return RawFrame(image, number, number, Fraction(1, 25), 0)


FACE = FaceBox(1, np.array([40, 30, 80, 80], np.float32), 0.0)


def test_recipients_of_no_use_darken_the_stream_and_never_show_a_face(keys: Path) -> None:
    evidence = started({"dpo": group(keys, "missing")})
    assert evidence.counts.alarm is not None and "missing.pub" in evidence.counts.alarm
    gate = build_gate(camera(), None, evidence)
    frame = gate.protect(raw_frame(), (FACE,), Zones())
    assert frame.redacted == DARK
    assert is_curtain(np.asarray(planes_of(frame.image).y))
    assert evidence.originals.take(0) is None


def test_or_the_stream_goes_on_protected_without_records(keys: Path) -> None:
    evidence = started({"dpo": group(keys, "missing")}, on_failure="continue")
    assert evidence.counts.alarm is not None
    gate = build_gate(camera(), None, evidence)
    frame = gate.protect(raw_frame(), (FACE,), Zones())
    assert frame.redacted is None and frame.faces == 1


def test_with_recipients_the_gate_hands_the_originals_over(keys: Path) -> None:
    evidence = started({"dpo": group(keys, "a")})
    gate = build_gate(camera(), None, evidence)
    frame = gate.protect(raw_frame(), (FACE,), Zones())
    originals = evidence.originals.take(frame.number)
    assert frame.redacted is None
    assert originals is not None and [tile.track_id for tile in originals.faces] == [1]


def test_a_sidecar_that_cannot_be_written_darkens_the_stream(keys: Path) -> None:
    evidence = build_evidence(
        camera(carrier="sidecar").model_copy(update={"publish": ["x.mp4"]}),
        Site("head-office", {"dpo": group(keys, "a")}),
    )
    assert evidence is not None
    lost = False
    evidence.watch(lambda: lost)
    assert evidence.refusal() is None
    lost = True
    assert evidence.refusal() == NO_SIDECAR


def test_a_sidecar_beside_nothing_is_a_mistake(keys: Path) -> None:
    with pytest.raises(SettingsError, match="sidecar writes beside a file or a recording"):
        started({"dpo": group(keys, "a")}, carrier="sidecar")


# --- settings ---


def test_evidence_without_recipients_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="recipients must name at least one group"):
        settings_from({"cameras": [{"id": "a", "source": "x", "evidence": {}}]})


def test_a_list_of_keys_is_a_group_of_which_one_is_needed() -> None:
    settings = settings_from({"recipients": {"dpo": ["a.pub", "b.pub"]}})
    assert settings.recipients["dpo"] == GroupSettings(keys=[Path("a.pub"), Path("b.pub")])


@pytest.mark.parametrize(
    ("recipients", "said"),
    [
        ({"dpo": []}, "recipients.dpo.keys"),
        ({"dpo": {"keys": ["a.pub"], "threshold": 2}}, "threshold must be at most"),
        ({"dpo": {"keys": ["a.pub"], "treshold": 1}}, "did you mean threshold"),
        ({"d p o": ["a.pub"]}, "recipients"),
        ("dpo.pub", "recipients"),
    ],
)
def test_recipients_that_make_no_sense(recipients: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        settings_from({"recipients": recipients})
    assert "\n" not in str(caught.value)


def test_the_whole_picture_hidden_keeps_no_evidence(
    keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = camera().model_copy(update={"privacy": "everything"})
    assert build_evidence(hidden, Site("x", {"dpo": group(keys, "a")})) is None
    assert "no evidence is kept" in caplog.text
