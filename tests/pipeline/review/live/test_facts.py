"""Facts of cameras in the console's process: the newest, and the silence of who should say more."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from pipeline.review.live.facts import CameraFact, CameraFacts
from pipeline.status import CameraStatus, SinkStatus, camera_status


def status(camera: str, error: str | None = None) -> CameraStatus:
    return camera_status(camera, None, error, since_ms=1_700_000_000_000)


class Clock:
    now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms


def test_a_status_survives_its_way() -> None:
    sent = status("lobby", "no route to host").as_dict()
    sent["sinks"] = [{"name": "record", "state": "up", "written": 3, "dropped": 0, "error": None}]
    fact = CameraFact.from_json(json.loads(json.dumps(sent)))
    assert fact.sinks == [SinkStatus("record", "up", 3, 0, None)]
    assert {field.name for field in fields(fact)} == set(sent) | {"received_ms"}
    for name, value in sent.items():
        if name != "sinks":
            assert getattr(fact, name) == value, name
    assert fact.since_ms == 1_700_000_000_000


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"camera": "a"},
        status("a").as_dict() | {"unknown": 1},
        status("a").as_dict() | {"sinks": [{"name": "x"}]},
        status("a").as_dict() | {"sinks": None},
        status("a").as_dict() | {"camera": 3},
    ],
)
def test_what_is_no_status_is_said(tree: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a camera's status"):
        CameraFact.from_json(tree)


def test_the_newest_counts_and_silence_is_a_state() -> None:
    clock = Clock()
    facts = CameraFacts(now_ms=clock)
    assert facts.all() == [] and facts.get("a") is None
    sent = [CameraFact.from_json(status(name, "gone").as_dict()) for name in ("b", "a")]
    facts.update({fact.camera: fact for fact in sent})
    assert [fact.camera for fact in facts.all()] == ["b", "a"]
    heard_ms = clock.now_ms
    clock.now_ms += 5000
    fact = facts.get("a")
    assert fact is not None
    assert (fact.state, fact.error, fact.received_ms) == ("failed", "gone", heard_ms)

    clock.now_ms += 1
    for fact in (*facts.all(), facts.get("a")):
        assert fact is not None
        assert (fact.state, fact.error) == ("silent", "the camera process does not answer")
        assert fact.since_ms == fact.received_ms == heard_ms
        assert fact.seconds_in_state == 5.0

    facts.update({"a": sent[1]})
    (fact,) = facts.all()
    assert (fact.camera, fact.state, fact.error) == ("a", "failed", "gone")
