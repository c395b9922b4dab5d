"""The console's process and its feed: real processes, a real socket pair, a small server."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.errors import BautaError, UsageError
from pipeline.frames import EncodedPacket
from pipeline.publish.sink import Sink
from pipeline.review import feed as feed_module
from pipeline.review.feed import ConsoleFeed
from pipeline.review.plan import ConsolePlan, DemoAccount
from pipeline.settings import ConsoleSettings
from pipeline.status import camera_status
from support.flow import wait_for
from support.live import GROUP, encoded, fragment, levels

FAKE = (sys.executable, "-P", str(Path(__file__).parents[2] / "support" / "fake_console.py"))
PASSWORD = "hunter2-geheim"


@pytest.fixture
def plan(tmp_path: Path) -> ConsolePlan:
    (tmp_path / "console").mkdir()
    return ConsolePlan(
        site="here",
        settings=ConsoleSettings(port=0, database=f"postgresql://u:{PASSWORD}@db/x"),
        state_dir=tmp_path,
        cameras=("lobby",),
        folders=(tmp_path / "rec",),
        demo=(DemoAccount("guard", PASSWORD, ("viewer",)),),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = feed_module.PAUSES.model_copy(update={"first_pause": 0.1, "longest_pause": 0.2})
    monkeypatch.setattr(feed_module, "PAUSES", pauses)


@contextlib.contextmanager
def running(
    plan: ConsolePlan, command: tuple[str, ...] = FAKE, **more: bool
) -> Iterator[ConsoleFeed]:
    feed = ConsoleFeed(plan, command=command, **more)
    feed.start()
    try:
        yield feed
    finally:
        feed.close()
        feed.close()
        assert feed.pid is None and feed.url is None


def get(feed: ConsoleFeed, path: str) -> bytes:
    with urllib.request.urlopen(f"{feed.url}{path}", timeout=20) as answer:
        body: bytes = answer.read()
        return body


def process_of(feed: ConsoleFeed) -> psutil.Process:
    assert feed.pid is not None
    return psutil.Process(feed.pid)


def wait_for_successor(feed: ConsoleFeed, pid: int | None) -> None:
    wait_for("its successor", lambda: feed.url is not None and feed.pid not in (None, pid))


def with_sink(feed: ConsoleFeed, work: Callable[[Sink, list[EncodedPacket]], None]) -> Sink:
    templates, packets = encoded(2 * GROUP + 4)
    sink = feed.sink("lobby")
    assert sink.name == "console"
    sink.start(templates)
    work(sink, packets)
    sink.close()
    return sink


def test_pictures_and_facts_reach_the_console(plan: ConsolePlan) -> None:
    def work(sink: Sink, packets: list[EncodedPacket]) -> None:
        for packet in packets:
            sink.offer(packet)
        seen = wait_for("all frames but the last", lambda: picture_count(feed, 3))
        assert seen == 3  # since the last keyframe; a frame comes with its successor
        wait_for("a viewer's fragments", lambda: int(get(feed, "count/lobby")) == len(packets) - 1)

    with running(plan) as feed:
        feed.wait_ready(30)
        sink = with_sink(feed, work)
        assert (sink.dropped, sink.error) == (0, None)
        # the writer was closed: the stream is over, and its last frame came
        wait_for("the end", lambda: get(feed, "live/lobby") == b"")
        assert int(get(feed, "count/lobby")) == 2 * GROUP + 4
        assert get(feed, "count/lobby/init") == b"1"

        feed.status([camera_status("lobby", None, "no route", since_ms=1_700_000_000_000)])
        facts = wait_for("facts", lambda: json.loads(get(feed, "facts")))
        assert [(one["camera"], one["state"], one["error"]) for one in facts] == [
            ("lobby", "failed", "no route")
        ]
        assert facts[0]["since_ms"] == 1_700_000_000_000
        told = json.loads(get(feed, "plan"))
        assert told["site"] == "here" and told["demo"] == [["guard", PASSWORD, ["viewer"]]]


def picture_count(feed: ConsoleFeed, least: int) -> int:
    data = get(feed, "live/lobby")
    found = len(levels(data)) if data else 0
    return found if found >= least else 0


def test_the_process_is_kept_apart(plan: ConsolePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAUTA_PASSPHRASE", PASSWORD)
    monkeypatch.setenv("LOBBY_PASSWORD", PASSWORD)
    with running(plan) as feed:
        feed.wait_ready(30)
        process = process_of(feed)
        assert process.cmdline()[0] == "bauta console"
        assert PASSWORD not in " ".join(process.cmdline())
        assert os.getsid(process.pid) == process.pid  # Ctrl-C in our terminal is not for it
        assert process.nice() >= min(os.nice(0) + 5, 19)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        (cores,) = (line for line in limits.splitlines() if "core file" in line)
        assert cores.split()[4:6] == ["0", "0"]
        environment = json.loads(get(feed, "environment"))
        assert not [name for name, value in environment.items() if PASSWORD in value]
        assert environment["BAUTA_STATE"] == str(plan.state_dir)
        assert environment["PATH"] == os.environ["PATH"]
        if os.geteuid() == 0:  # nobody else may look
            folders = (Path(f"/proc/{process.pid}/fd"), Path("/proc/self/fd"))
            theirs, ours = ({str(f.readlink()) for f in d.iterdir() if f.exists()} for d in folders)
            assert not {name for name in theirs & ours if name.startswith(("socket", "pipe"))}


def test_the_process_has_no_part_of_the_live_path() -> None:
    """No detector, no session, no source: what is not there cannot be abused."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import pipeline.review.process, sys; assert 'numpy' not in sys.modules; "
            "import pipeline.review.inbox; print(*sys.modules)",
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = done.stdout.split()
    assert "pipeline.review.live.hub" in loaded
    parts = ("build", "session", "compose", "detect", "encode", "source.", "seal", "vault")
    wrong = [
        name for name in loaded if name.startswith(tuple(f"pipeline.{part}" for part in parts))
    ]
    assert wrong == []
    assert not {"engines", "openvino", "torch"} & set(loaded)


@pytest.mark.slow
@pytest.mark.untimed
def test_a_console_that_dies_comes_back_with_the_stream(
    plan: ConsolePlan, caplog: pytest.LogCaptureFixture
) -> None:
    def work(sink: Sink, packets: list[EncodedPacket]) -> None:
        for packet in packets[:GROUP]:
            sink.offer(packet)
        wait_for("the first group", lambda: picture_count(feed, GROUP - 1))
        first = process_of(feed)
        first.kill()
        wait_for_successor(feed, first.pid)
        # the stream is the same; there is no picture of it before its next keyframe
        init = wait_for("the init segment", lambda: get(feed, "live/lobby"))
        assert init.count(b"moov") == 1 and b"moof" not in init
        for packet in packets[GROUP + 3 :]:
            sink.offer(packet)
        wait_for("the newest group", lambda: picture_count(feed, 3))
        wait_for("a viewer's", lambda: int(get(feed, "count/lobby")) == 3)

    with caplog.at_level(logging.WARNING), running(plan) as feed:
        feed.wait_ready(30)
        sink = with_sink(feed, work)
    assert sink.error is None
    urls = [record for record in caplog.messages if record.startswith("console: http://")]
    deaths = [record for record in caplog.messages if "ended unexpectedly (signal 9)" in record]
    assert len(urls) == 2 and len(deaths) == 1


@pytest.mark.slow
def test_a_console_that_hangs_slows_nobody_and_is_replaced(
    plan: ConsolePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "HUNG_SECONDS", 0.5)

    def work(sink: Sink, packets: list[EncodedPacket]) -> None:
        sink.offer(packets[0])
        sink.offer(packets[1])
        wait_for("a picture", lambda: picture_count(feed, 1))
        first = process_of(feed)
        first.send_signal(signal.SIGSTOP)
        outlet = sink._open_writer.__self__  # type: ignore[attr-defined]
        large = fragment("K", 100_000)
        before = time.monotonic()
        for _ in range(400):  # 40 MB: the socket's buffer and the lane are full long before
            outlet.publish(large)
        assert time.monotonic() - before < 5
        assert sink.dropped > 100
        wait_for_successor(feed, first.pid)
        assert not first.is_running()

    with running(plan) as feed:
        feed.wait_ready(30)
        with_sink(feed, work)


def test_h265_is_refused_and_costs_nothing(
    plan: ConsolePlan, caplog: pytest.LogCaptureFixture
) -> None:
    templates, packets = encoded(4, "h265")
    with running(plan) as feed:
        feed.wait_ready(30)
        sink = feed.sink("lobby")
        sink.start(templates)
        for packet in packets:
            sink.offer(packet)
        reason = wait_for("the refusal", lambda: get(feed, "refusal/lobby").decode())
        sink.close()
    assert reason == "H.265 does not play in browsers; set encode.codec to h264"
    assert sink.error is None
    assert len([line for line in caplog.messages if "no live picture" in line]) == 1


def test_new_cameras_need_no_new_process_and_folders_do(plan: ConsolePlan, tmp_path: Path) -> None:
    with running(plan) as feed:
        url, pid = feed.wait_ready(30), feed.pid
        feed.set_plan(plan)
        changed = replace(plan, cameras=("lobby", "gate"))
        feed.set_plan(changed)

        def told() -> Any:
            with contextlib.suppress(OSError):  # the server begins anew
                return json.loads(get(feed, "plan"))["cameras"] == ["lobby", "gate"]

        wait_for("the new plan", told)
        assert (feed.url, feed.pid) == (url, pid)

        folders = (tmp_path / "rec", tmp_path / "gate")
        feed.set_plan(replace(changed, folders=folders))
        wait_for_successor(feed, pid)
        assert json.loads(get(feed, "plan"))["folders"] == list(map(str, folders))


@pytest.mark.slow
@pytest.mark.untimed
def test_a_console_that_cannot_start_is_one_line_and_is_tried_again(
    plan: ConsolePlan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "console" / "fail").write_text("port 8080 is taken")
    with running(plan) as feed:
        with pytest.raises(UsageError, match=r"^port 8080 is taken$"):
            feed.wait_ready(30)
        wait_for("the next attempts", lambda: feed._backoff.failures >= 2)
        (tmp_path / "console" / "fail").unlink()
        wait_for("the console", lambda: feed.url)
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["console: port 8080 is taken; the cameras go on, and it is tried again"]


def test_who_awaits_it_says_it(
    plan: ConsolePlan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(plan, is_awaited=True) as feed:
        feed.wait_ready(30)
    (tmp_path / "console" / "fail").write_text("no")
    with running(plan, is_awaited=True) as feed, pytest.raises(UsageError):
        feed.wait_ready(30)
    with running(plan, ("/nonexistent",)) as feed, pytest.raises(BautaError, match="No such file"):
        feed.wait_ready(30)
    assert [line for line in caplog.messages if "No such file" not in line] == []


@pytest.mark.parametrize("way", ["the pipe ends", "SIGTERM"])
def test_it_does_not_outlive_its_parent(plan: ConsolePlan, way: str) -> None:
    with running(plan) as feed:
        feed.wait_ready(30)
        process = process_of(feed)
        if way == "SIGTERM":
            process.terminate()
        else:
            assert feed._pipe is not None
            feed._pipe.shutdown(2)
        gone, _ = psutil.wait_procs([process], timeout=20)
        assert gone == [process]


def test_what_is_not_ours_ends_it_with_one_line(
    plan: ConsolePlan, caplog: pytest.LogCaptureFixture
) -> None:
    with running(plan) as feed:
        feed.wait_ready(30)
        pid = feed.pid
        assert feed._pipe is not None
        feed._pipe.sendall(b"\0\0\0\x02??")
        wait_for_successor(feed, pid)
    (line,) = (line for line in caplog.messages if "not ours" in line)
    assert "unknown kind" in line
