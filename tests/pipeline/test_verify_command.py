from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.vault.signing import fingerprint
from support.clips import make_clip, not_a_video
from support.evidence import (
    EvidenceClip,
    Packet,
    a_service_key,
    copied,
    flipped,
    make_evidence,
    with_another_picture,
    write_sidecar,
)
from support.flow import Done, bauta

TWO = {"dpo": (1, 2), "police": (2, 3)}
PRINT = fingerprint(a_service_key().public)


@pytest.fixture
def made() -> EvidenceClip:
    return copied(make_evidence(groups=TWO))


@pytest.fixture
def service(made: EvidenceClip, tmp_path: Path) -> Path:
    return made.write_public(tmp_path / "service.pub")


def verified(clip: EvidenceClip, service: Path, **how: str) -> Done:
    path = clip.write(service.with_name("clip.mp4"), **how)  # type: ignore[arg-type]
    return bauta("verify", path, "--service", service)


def verdict(done: Done) -> list[str]:
    return [line for line in done.out.splitlines()[1:] if not line.startswith("  ")]


@pytest.mark.parametrize("carrier", ["stream", "sidecar", "both"])
def test_what_is_whole(carrier: str, made: EvidenceClip, service: Path) -> None:
    done = verified(made, service, carrier=carrier)
    assert done.code == 0 and not done.err
    assert verdict(done) == [f"origin: verified, {PRINT}", "complete: yes", "unaltered: yes"]
    facts = dict(line.strip().split(":", 1) for line in done.out.splitlines()[1:6])
    told = {name: text.strip() for name, text in facts.items()}
    sidecar = f"sidecar {service.with_name('clip.mp4.bauta')}"
    assert told == {
        "camera": "gate-3, North",
        "when": "2026-09-21 14:13:20 to 14:13:22 UTC, by the service's clock",
        "length": "0:02.4, 60 frames in 3 epochs",
        "recipients": "dpo: 1 of its keys; police: 2 of its 3 keys",
        "carrier": sidecar if carrier == "sidecar" else "in the stream",
    }


def test_without_a_key(made: EvidenceClip, tmp_path: Path) -> None:
    done = bauta("verify", made.write(tmp_path / "clip.mp4"))
    origin, *rest = verdict(done)
    assert done.code == 1 and rest == ["complete: yes", "unaltered: yes"]
    assert origin.startswith("ORIGIN UNVERIFIED: no key is pinned")
    assert PRINT in origin and "--service SERVICE.pub" in origin


def test_a_foreign_key(made: EvidenceClip, service: Path) -> None:
    done = verified(make_evidence(service_key=a_service_key(2)), service)
    other = fingerprint(a_service_key(2).public)
    assert done.code == 1
    assert verdict(done)[0] == f"ORIGIN UNVERIFIED: signed by another key, {other}"


def test_altered_frames_by_place_and_time(made: EvidenceClip, service: Path) -> None:
    for at in (25, 26, 50):
        made.packets[at] = with_another_picture(made.packets[at])
    done = verified(made, service)
    assert done.code == 1
    assert verdict(done)[1:] == [
        "complete: yes",
        "unaltered: no: frames 25–26 (0:01.0–0:01.0), 50 (0:02.0)",
    ]


def test_what_is_missing(made: EvidenceClip, service: Path) -> None:
    del made.packets[20:40]
    done = verified(made, service)
    assert done.code == 1
    assert verdict(done) == [
        f"origin: verified, {PRINT}",
        "complete: no: 1 epoch was taken out or lost before 0:00.8",
        "unaltered: yes",
    ]


def test_a_signature_that_does_not_hold(made: EvidenceClip, service: Path) -> None:
    made.packets[7].records[0] = flipped(made.packets[7].records[0], -5)
    done = verified(made, service)
    assert done.code == 1
    origin, complete, _ = verdict(done)
    assert origin == (
        "ORIGIN UNVERIFIED: a group record's signature does not hold (in 1 epoch, the first at "
        "0:00.0)"
    )
    assert complete.startswith("complete: no: no signed record speaks of frames 1–7")


def test_a_live_end(service: Path) -> None:
    done = verified(make_evidence(says_last=False, tail=4), service)
    assert done.code == 0 and "the last 4 frames" in verdict(done)[1]


def test_recipients_that_changed(made: EvidenceClip, service: Path) -> None:
    later = make_evidence(groups={"dpo": (1, 1)})
    for at in range(20, 40):
        made.packets[at].records = later.packets[at].records
    lines = verified(made, service).out.splitlines()
    assert [line.split(None, 1)[1] for line in lines if line.startswith("  recipients")] == [
        "dpo: 1 of its keys; police: 2 of its 3 keys (from 0:00.0 on)",
        "dpo: 1 of its keys (from 0:00.8 on)",
        "dpo: 1 of its keys; police: 2 of its 3 keys (from 0:01.6 on)",
    ]


def test_texts_that_would_steer_the_terminal(tmp_path: Path) -> None:
    made = make_evidence(epochs=1, camera="a\x1b[2J\nb", site="\u202eevil")
    done = bauta("verify", made.write(tmp_path / "clip.mp4"))
    assert "a?[2J?b, ?evil" in done.out


def test_a_time_that_no_calendar_has(made: EvidenceClip, service: Path) -> None:
    key = a_service_key()
    first = replace(made.key_records()[0], started_utc_ms=2**64 - 1)
    made.packets[0].records[0] = first.signed(key.sign(first.to_sign)).encode()
    assert "no calendar" in verified(made, service).out


def test_as_json(made: EvidenceClip, service: Path, tmp_path: Path) -> None:
    made.packets[5] = with_another_picture(made.packets[5])
    path = made.write(tmp_path / "clip.ts")
    done = bauta("verify", path, "--service", service, "--json")
    result = done.result
    assert done.code == 1 and not result["whole"]
    assert result["origin_verified"] and result["complete"] and not result["unaltered"]
    assert result["altered_frames"] == [5] and result["service_key"] == PRINT
    assert result["carrier"] == "stream" and result["codec"] == "h264" and result["frames"] == 60
    epoch = result["epochs"][1]
    assert (epoch["sequence"], epoch["first_frame"], epoch["frames"]) == (1, 20, 20)
    assert epoch["recipients"] == [
        {"name": "dpo", "needed": 1, "keys": None},
        {"name": "police", "needed": 2, "keys": 3},
    ]


def test_wrong_use_is_one_line(made: EvidenceClip, service: Path, tmp_path: Path) -> None:
    clip = made.write(tmp_path / "clip.mp4")
    bare = make_clip(tmp_path / "bare.mp4", frames=5, faces=0).path
    other = write_sidecar(tmp_path / "other", make_evidence(seed=9).records())
    empty = write_sidecar(tmp_path / "empty", [])
    wrong: list[tuple[list[str | Path], int, str]] = [
        ([tmp_path / "none.mp4"], 2, "no such file"),
        ([not_a_video(tmp_path / "a.mp4")], 1, "is not a video"),
        ([bare], 1, "holds no records of bauta/1"),
        ([clip, "--sidecar", other], 2, "is of another clip"),
        ([clip, "--sidecar", empty], 1, "holds no key record"),
        ([clip, "--service", tmp_path / "none.pub"], 2, "No such file"),
        ([clip, "--service", clip], 2, "clip.mp4"),
    ]
    for arguments, code, message in wrong:
        done = bauta("verify", *arguments)
        assert done.code == code and message in done.error_line and not done.out


def test_stripped_records(made: EvidenceClip, service: Path) -> None:
    """As a recorder does that drops what it does not know."""
    bare = replace(made, packets=[Packet(item.packet) for item in made.packets])
    done = verified(bare, service)
    assert done.code == 1 and "--sidecar FILE" in done.error_line
