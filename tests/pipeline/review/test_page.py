"""The page in a real browser, on a real console: sign-in, the wall, a camera that goes down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.review.live.pieces import Fragment, InitSegment
from pipeline.review.store import sessions
from support.browser import chromium
from support.console import Console, a_fact, running_console
from support.live import FPS, live_stream
from support.watched import Watched

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]
SECONDS = 20.0
PAGES = ("live", "live/lobby", "recordings", "people", "requests", "users", "audit", "system")
TABLET_PX = (1024, 768)
DESK_PX = (1280, 800)


class Pump:
    """A camera: frames in their own time, one stream after the other."""

    def __init__(self, console: Console, camera: str, stream: tuple[InitSegment, list[Fragment]]):
        self._console, self._camera, self._stream = console, camera, stream
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        init, fragments = self._stream
        while not self._stop.is_set():
            self._console.hub.begin(self._camera, init)
            for fragment in fragments:
                self._console.hub.publish(self._camera, fragment)
                if self._stop.wait(float(1 / FPS)):
                    break
        self._console.hub.end(self._camera, "the camera does not answer")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def keeping(change: Callable[[], None]) -> Iterator[None]:
    """Facts come every second, as from the cameras' process."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.5):
            change()

    change()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def stream() -> tuple[InitSegment, list[Fragment]]:
    return live_stream(200)  # 8 s; brightness counts the frames


TILE = "document.querySelector('[data-camera=lobby]').closest('.tile')"
LEVEL = f"""(() => {{
    const canvas = Object.assign(document.createElement('canvas'), {{width: 8, height: 8}});
    const context = canvas.getContext('2d');
    context.drawImage({TILE}.querySelector('video'), 0, 0, 8, 8);
    return context.getImageData(4, 4, 1, 1).data[0];
}})()"""


def test_a_day_at_the_wall(tmp_path: Path, stream: tuple[InitSegment, list[Fragment]]) -> None:
    facts = {"lobby": a_fact("lobby"), "yard": a_fact("yard")}
    with running_console(tmp_path, recorded=False) as console:
        pump = Pump(console, "lobby", stream)
        with (
            keeping(lambda: console.facts.update(facts)),
            Watched(f"{console.url}#/live", tmp_path / "profile", DESK_PX) as page,
        ):
            page.sign_in("guard")
            page.until("the wall", "document.querySelector('[data-camera=lobby]') !== null")
            # the picture: decoded by the browser, moving, near its newest fragment
            page.until("a picture", f"{TILE}.tile.stats.frames > 5")
            first = page.evaluate(LEVEL)
            page.until("the picture moves", f"{LEVEL} !== {first}")
            page.until("it is near the edge", f"{TILE}.tile.stats.behindMs < 1500")
            assert page.evaluate(f"{TILE}.querySelector('.veil').hidden") is True
            assert "2 faces" in page.evaluate(f"{TILE}.innerText")
            names = page.evaluate(
                "[...document.querySelectorAll('.tile-link')].map((link) => link.textContent)"
            )
            assert names == ["lobby", "yard"]  # not the vault, which the guard may not see

            # frames that are obscured from now on are counted, those of before are not
            obscured = page.evaluate(f"{TILE}.querySelector('.tile-obscured').hidden")
            assert obscured is True
            facts["lobby"] = a_fact("lobby", obscured={"overload": 3, "detection late": 12})
            page.until(
                "the reason",
                f"{TILE}.querySelector('.tile-obscured').textContent"
                " === '12 frames obscured: detection late'",
            )

            # down: why, and since when; the last picture stays, the player waits
            pump.stop()
            facts["lobby"] = a_fact(
                "lobby", state="down", error="no route to the camera", frames_per_second=0.0
            )
            page.until("it is down", f"{TILE}.dataset.state === 'down'")
            words = page.evaluate(f"{TILE}.querySelector('.veil').textContent")
            assert "no route to the camera" in words and "since" in words
            assert "lobby" in page.evaluate("document.getElementById('announce').textContent")
            frames = page.evaluate(f"{TILE}.tile.stats.frames")

            # up again: the same player goes on with the new stream, without a new connection
            pump = Pump(console, "lobby", stream)
            facts["lobby"] = a_fact("lobby")
            page.until("it plays again", f"{TILE}.tile.stats.frames > {frames} + 5")
            page.until("no veil", f"{TILE}.querySelector('.veil').hidden")
            assert page.evaluate(f"{TILE}.tile.stats.reconnects") == 0

            # the side panel takes the picture over
            page.call("Input.dispatchKeyEvent", type="keyDown", key="1", text="1")
            page.until("the panel", "location.hash === '#/live/lobby'")
            page.until("large", "document.querySelector('.camera-panel video').readyState >= 2")
            page.until("one viewer", f"{TILE}.querySelector('video').paused")
            assert "rtsp://***@nvr/one" in page.evaluate(
                "document.querySelector('.camera-panel').textContent"
            )

            # the session ends elsewhere: sign-in, and back to the same place
            with console.database() as database:
                sessions.close_all(database, "guard")
            page.until("signed out", "document.body.innerText.includes('You were signed out')")
            assert page.evaluate("document.querySelectorAll('video').length") == 0
            page.sign_in("guard")
            page.until("back", "document.querySelector('.camera-panel video')?.readyState >= 2")
            assert page.evaluate("location.hash") == "#/live/lobby"
            assert page.errors == []
        pump.stop()


def test_one_asks_and_another_refuses(tmp_path: Path) -> None:
    dialog = "document.querySelector('dialog[open]')"
    with (
        running_console(tmp_path) as console,
        Watched(f"{console.url}#/requests", tmp_path / "profile", DESK_PX) as page,
    ):
        page.sign_in("guard")
        page.evaluate(
            """(async () => {
                const { openRequestDialog } = await import("/static/page-requests.js");
                const { people } = await (await fetch("/api/people?cameras=lobby")).json();
                openRequestDialog({ camera: "lobby", fromMs: people[0].start_ms,
                    toMs: people[0].end_ms, people });
            })()"""
        )
        send = f"{dialog}.querySelector('button[type=submit]').click()"
        page.evaluate(send)  # without case and reason
        assert page.evaluate(f"{dialog}.querySelectorAll('[aria-invalid=true]').length") == 2
        page.evaluate(f"{dialog}.querySelector('input[type=text]').value = '2026-7'")
        page.evaluate(f"{dialog}.querySelector('textarea').value = 'One <b>line</b>\\nand another'")
        page.evaluate(send)
        page.until("it is listed", "document.querySelector('.row-link') !== null")
        page.evaluate("document.querySelector('.person').click()")
        page.evaluate("document.querySelectorAll('[role=menuitem]')[1].click()")

        page.sign_in("chief")
        # not where the last person was
        page.until("the wall", "document.querySelector('h1')?.textContent === 'Live'")
        page.evaluate("location.hash = '#/requests'")
        page.until("one to decide", "document.querySelector('.count').textContent === '1'")
        page.until("it is listed", "document.querySelector('.row-link') !== null")
        page.evaluate("document.querySelector('.row-link').click()")
        page.until("its page", "document.querySelector('.request-reason') !== null")
        reason = page.evaluate("document.querySelector('.request-reason').textContent")
        assert reason == "One <b>line</b> and another"
        assert page.evaluate("document.querySelectorAll('.request-people figure').length") == 2
        page.evaluate(
            "[...document.querySelectorAll('.actions button')]"
            ".find((one) => one.textContent === 'Refuse').click()"
        )
        page.evaluate(send)
        assert page.evaluate(f"{dialog}.querySelector('[role=alert]').hidden") is False
        page.evaluate(f"{dialog}.querySelector('textarea').value = 'Too wide'")
        page.evaluate(send)
        page.until("refused", "document.querySelector('.badge').textContent === 'Refused'")
        assert "“Too wide”" in page.evaluate("document.querySelector('.request-history').innerText")
        page.until("nothing to decide", "document.querySelector('.count').hidden")
        with console.signed_in("guard") as guard:
            (kept,) = guard.get("/api/requests").json()["requests"]
        assert (kept["state"], kept["note"], kept["decider"]) == ("refused", "Too wide", "chief")
        assert page.errors == []


def test_pages_fit_a_tablet(tmp_path: Path) -> None:
    """No page scrolls sideways, controls are large enough for fingers, no script fails."""
    with running_console(tmp_path) as console:
        facts = {"lobby": a_fact("lobby"), "yard": a_fact("yard", state="failed", error="x" * 90)}
        with (
            keeping(lambda: console.facts.update(facts)),
            Watched(f"{console.url}#/live", tmp_path / "profile", TABLET_PX) as page,
        ):
            page.sign_in("root")
            for name in PAGES:
                page.evaluate(f"location.hash = '#/{name}'")
                page.until(name, "document.querySelector('.page-root h1, .page-root h2') !== null")
                time.sleep(0.5)
                width, inner = page.evaluate(
                    "[Math.max(document.documentElement.scrollWidth, document.body.scrollWidth), "
                    "innerWidth]"
                )
                assert width <= inner, name
                main = page.evaluate(
                    "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)"
                    "(document.getElementById('main'))"
                )
                assert main <= 0, name
                small = page.evaluate(
                    """[...document.querySelectorAll('#main .button:not(.small), .rail nav a')]
                        .map((control) => [control.textContent || control.ariaLabel,
                            control.getBoundingClientRect()])
                        .filter(([, {height, width}]) => height && (height < 40 || width < 40))
                        .map(([words, {height, width}]) => [words, height, width])"""
                )
                assert small == [], name
                unnamed = page.evaluate(
                    """[...document.querySelectorAll('button, a[href], input, select, textarea')]
                        .filter((control) => control.checkVisibility()
                            && !control.textContent.trim() && !control.ariaLabel
                            && !control.labels?.length && !control.getAttribute('aria-labelledby'))
                        .map((control) => control.outerHTML)"""
                )
                assert unnamed == [], name
            assert page.errors == []
