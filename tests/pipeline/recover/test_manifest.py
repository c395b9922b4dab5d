"""The manifest: everything that a court would ask, as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.recover.manifest import as_json, manifest_path, report_path, sha256_of, utc
from pipeline.version import __version__
from support.recoveries import A_REQUEST, HASHES, a_recovery


def test_it_says_what_who_why_and_by_which_keys() -> None:
    fields = json.loads(as_json(a_recovery()))
    assert fields["tool"] == f"bauta {__version__}" and fields["format"] == "bauta recovery 1"
    assert (fields["case"], fields["reason"], fields["user"]) == ("17/26", "theft, hall 3", "dana")
    assert fields["clip"] == {"name": "lobby.mp4", "sha256": HASHES["clip"]}
    assert fields["output"] == {"name": "opened.mp4", "sha256": HASHES["out"]}
    assert fields["sidecar"] is None
    assert fields["asked_for"] == {"tracks": [12], "from_seconds": 80.0, "to_seconds": 105.5}
    assert fields["keys"] == [{"age": "age1dpo", "signing": "SHA256:dpo", "used": True}]
    (package,) = fields["packages"]
    assert package["what"] == "release" and package["maker_signing"] == "SHA256:police"
    assert fields["epochs"][0]["opened_by"] == ["dpo"]
    assert fields["gaps"][0]["first_frame"] == 40 and "no record fits" in fields["gaps"][0]["why"]
    assert fields["counts"] == {
        "frames": 50,
        "recovered_frames": 42,
        "faces": 40,
        "moved": 2,
        "scenes": 0,
        "tracks": [12],
    }
    assert fields["audit"] == {"count": 3, "hash": HASHES["log"]}
    assert fields["video"] == {"marked": True, "lossless": False, "audio": True}


@pytest.mark.parametrize(
    ("is_verified", "verdict"), [(True, "ORIGIN VERIFIED"), (False, "ORIGIN UNVERIFIED")]
)
def test_the_verdict_on_the_origin(is_verified: bool, verdict: str) -> None:
    origin = json.loads(as_json(a_recovery(is_origin_verified=is_verified)))["origin"]
    assert origin["verdict"] == verdict and origin["verified"] is is_verified


def test_a_request_is_named() -> None:
    assert json.loads(as_json(a_recovery()))["request"] is None
    note = json.loads(as_json(a_recovery(request=A_REQUEST)))["request"]
    assert (note["id"], note["requested_by"], note["approved_by"]) == ("R-4QX7ZK2M", "dana", "milo")
    assert (note["verdict"], note["is_lock"]) == ("REQUEST UNVERIFIED", True)
    verified = replace(A_REQUEST, is_verified=True)
    note = json.loads(as_json(a_recovery(request=verified)))["request"]
    assert note["verdict"] == "REQUEST VERIFIED" and note["signer"] == "SHA256:console"


def test_everybody_to_the_end() -> None:
    fields = json.loads(as_json(a_recovery(tracks=(), to_seconds=None)))
    assert fields["asked_for"] == {"tracks": "all", "from_seconds": 80.0, "to_seconds": None}


def test_it_is_one_text_whatever_is_in_it() -> None:
    """No pixel; and letters of people's names as they are."""
    data = as_json(a_recovery(case="Ä \u202e\n{}", reason='"'))
    assert json.loads(data)["case"] == "Ä \u202e\n{}" and b"PNG" not in data
    assert "Ä".encode() in data and data.endswith(b"}\n")


def test_names_and_hashes(tmp_path: Path) -> None:
    dest = tmp_path / "a.b.mp4"
    dest.write_bytes(b"x" * 100_000)
    assert manifest_path(dest).name == "a.b.mp4.manifest.json"
    assert report_path(dest).name == "a.b.mp4.report.html"
    assert sha256_of(dest) == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_records_clock_may_say_anything() -> None:
    assert utc(1_790_000_000_123) == "2026-09-21T14:13:20.123Z"
    assert utc(2**64 - 1) == f"{2**64 - 1} ms after 1970"
