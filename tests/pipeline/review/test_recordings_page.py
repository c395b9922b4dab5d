"""Recordings and people in a real browser, on a real console. Each picture says which it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from sqlalchemy import select

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.encode.encoder import Encoder
from pipeline.frames import FaceBox, RawFrame
from pipeline.presence import RecordingSession
from pipeline.protect.choose import make_patches
from pipeline.review.store.database import Database, insert
from pipeline.review.store.tables import PEOPLE as PEOPLE_TABLE
from pipeline.review.store.tables import SEGMENTS
from pipeline.settings import EncodeSettings, ProtectSettings
from support.browser import chromium
from support.console import Console, running_console
from support.recordings import FPS, HEIGHT, TICKS, WIDTH, Stream, record, stream_of
from support.watched import Watched

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="needs Chromium"),
]
START_MS = 1_795_000_000_250  # long ago: a recording of now might still go on
START = START_MS / 1000
OTHER_SESSION = RecordingSession("6f" * 16, has_evidence=False, codec="h264")
FRAMES = 150  # 6 s in files of 2 s
GAP_MS = 20_000  # from the first recording's start to the second's
FRAME_MS = 1000 // FPS
MANY = 1500
PERSON = (10, 79)  # first and last frame of the one who walks


def counted_stream() -> Stream:
    """The number of each frame stands in its upper border, eight bits of 16 pixels each."""
    gate = Gate("lobby", partial(make_patches, settings=ProtectSettings(obfuscation="solid")))

    def frame(index: int) -> ProtectedFrame:
        i420 = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
        i420[:HEIGHT] = 60
        for bit in range(8):
            i420[:16, 16 * bit : 16 * bit + 16] = 220 if index >> bit & 1 else 20
        image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        is_there = PERSON[0] <= index <= PERSON[1]
        box = np.array((index, 60.0, index + 30.0, 100.0), np.float32)
        faces = [FaceBox(7, box, 0.0)] if is_there else []
        return gate.protect(RawFrame(image, index, index * 3_600, TICKS, 1), faces, Zones())

    encoder = Encoder(
        EncodeSettings(gop=1.0, codec="h264"),
        encoder="libx264",
        preset="ultrafast",
        first=frame(0),
        fps=Fraction(FPS),
        live=True,
    )
    packets = [packet for index in range(FRAMES) for packet in encoder.encode(frame(index))]
    return Stream(encoder.templates, (*packets, *encoder.finish()))


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("console")
    recordings = folder / "recordings"
    stream = counted_stream()
    assert len(record(recordings, stream, start=START)) == 3
    later = START + GAP_MS / 1000
    assert len(record(recordings, stream, start=later, session=OTHER_SESSION)) == 6
    with running_console(folder, recorded=False) as running:
        yield running


FRAME = """(() => {
    const video = document.querySelector('video');
    const canvas = Object.assign(document.createElement('canvas'),
        {width: video.videoWidth, height: video.videoHeight});
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    const pixels = context.getImageData(0, 8, 128, 1).data;
    return [0, 1, 2, 3, 4, 5, 6, 7]
        .reduce((sum, bit) => sum + (pixels[4 * (16 * bit + 8)] > 128 ? 1 << bit : 0), 0);
})()"""
CLOCK = "document.querySelector('.watch-clock').textContent"


class Player(Watched):
    """The page of recordings, driven as a person would."""

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    @property
    def clock_ms(self) -> int:
        """What the page says of the picture, in ms since the recordings begin."""
        hours, minutes, seconds = self.evaluate(CLOCK).split(":")
        day = ((int(hours) * 60 + int(minutes)) * 60 + float(seconds)) * 1000
        offset_ms = self.evaluate(f"new Date({START_MS}).getTimezoneOffset() * 60_000")
        start: float = (START_MS - offset_ms) % 86_400_000
        return round(day - start)

    def shows(self, frame: int, *, start_ms: int = 0) -> None:
        """Waits for this frame, in the picture and on the page's clock."""
        wanted = start_ms + frame * FRAME_MS
        deadline = time.monotonic() + 10
        while self.clock_ms != wanted or self.evaluate(FRAME) != frame:
            assert time.monotonic() < deadline, (wanted, self.clock_ms, self.evaluate(FRAME))
            time.sleep(0.05)

    def go(self, at_ms: float) -> None:
        self.evaluate(f"location.hash = '#/recordings?camera=lobby&at={START_MS + at_ms:.0f}'")


def test_every_moment_can_be_sought_stepped_and_played(console: Console, tmp_path: Path) -> None:
    address = f"{console.url}#/recordings?camera=lobby&at={START_MS + 1010}"
    with Player(address, tmp_path / "profile", (1280, 800)) as page:
        page.sign_in("guard")
        page.until("a picture", "document.querySelector('video')?.readyState >= 2")
        page.shows(25)
        for frame in (3, 149, 60, 49, 50, 100):  # in all files, at both sides of a border
            page.go(frame * FRAME_MS + 10)
            page.shows(frame)
            page.go(GAP_MS + frame * FRAME_MS + 10)
            page.shows(frame, start_ms=GAP_MS)

        # frame by frame over the border of two files, and over the gap
        page.go(51 * FRAME_MS + 10)
        page.shows(51)
        for frame in (50, 49, 48):
            page.press(",")
            page.shows(frame)
        for frame in (49, 50):
            page.press(".")
            page.shows(frame)
        page.press(",", 5)
        page.shows(45)
        page.go(149 * FRAME_MS + 10)
        page.shows(149)
        page.press(".")
        page.shows(0, start_ms=GAP_MS)
        page.press(",")
        page.shows(149)

        # playing crosses borders and jumps the gap
        page.go(140 * FRAME_MS)
        page.shows(140)
        page.press(" ")
        deadline = time.monotonic() + 10
        while page.clock_ms < GAP_MS + 500:
            assert time.monotonic() < deadline, page.clock_ms
            time.sleep(0.05)
        page.press(" ")
        time.sleep(0.3)
        still = page.clock_ms
        assert abs(page.evaluate(FRAME) - (still - GAP_MS) / FRAME_MS) <= 1
        time.sleep(0.3)
        assert page.clock_ms == still

        # memory: what is far is let go
        ends = page.evaluate(
            "(({buffered}) => buffered.length && buffered.end(buffered.length - 1) - "
            "buffered.start(0))(document.querySelector('video'))"
        )
        assert 0 < ends < 120
        assert page.errors == []


def test_the_clip_and_the_people_beside_the_picture(console: Console, tmp_path: Path) -> None:
    address = f"{console.url}#/recordings?camera=lobby&at={START_MS + 1010}"
    with Player(address, tmp_path / "profile", (1024, 768)) as page:
        page.sign_in("guard")
        page.until("cards", "document.querySelectorAll('.people-list article').length === 2")
        page.until(
            "its thumbnail", "document.querySelector('.people-list img[data-shown]') !== null"
        )
        page.evaluate("document.querySelectorAll('.people-list a')[1].click()")
        page.shows(PERSON[0])
        here = "document.querySelectorAll('.people-list article')[1].dataset.here"
        page.until("it is marked as here", f"{here} === 'true'")
        page.press("l")  # ten seconds on: in the gap, so the next recording
        page.shows(0, start_ms=GAP_MS)
        page.until("nobody yet", f"{here} === 'false'")
        page.press("p")
        page.shows(PERSON[0])

        page.press("i")
        page.go(2500)
        page.shows(62)
        page.press("o")
        words = page.evaluate("document.querySelector('.clip-words').textContent")
        assert words.endswith(", 2.1 s")
        page.evaluate("document.querySelector('.clip-bar > .button:not(.small, .quiet)').click()")
        page.until("the clip", "document.querySelector('.clip-result a') !== null")
        url = page.evaluate("document.querySelector('.clip-result a').href")
        with console.signed_in("guard") as guard:
            clip = guard.get(url)
        assert clip.status_code == httpx.codes.OK
        assert clip.content[:2] == b"PK" or clip.content[4:8] == b"ftyp"

        # the timeline by keyboard: its words follow
        plot = "document.querySelector('.timeline-plot')"
        assert page.evaluate(f"{plot}.getAttribute('role')") == "slider"
        page.until("words", f"{plot}.getAttribute('aria-valuetext')?.startsWith('lobby, ')")
        page.until(
            "a summary",
            "document.getElementById('timeline-summary').textContent.includes('s recorded')",
        )
        assert page.errors == []


def test_a_deleted_recording_is_one_line_and_can_be_tried_again(
    console: Console, tmp_path: Path
) -> None:
    address = f"{console.url}#/recordings?camera=lobby&at={START_MS + 1010}"
    with Player(address, tmp_path / "profile", (1280, 800)) as page:
        page.sign_in("guard")
        page.until("a picture", "document.querySelector('video')?.readyState >= 2")
        page.shows(25)
        over = "document.querySelector('.watch-over')"
        page.evaluate(
            "window.honest = fetch; window.fetch = (url, ...more) => String(url).includes('/media')"
            " ? Promise.reject(new TypeError('gone')) : honest(url, ...more)"
        )
        page.go(GAP_MS + 1010)
        page.until("an error", f"!{over}.hidden")
        assert page.evaluate(f"{over}.querySelector('p').textContent") == (
            "The console cannot be reached."
        )
        page.evaluate(f"window.fetch = honest; {over}.querySelector('button').click()")
        page.shows(25, start_ms=GAP_MS)
        assert page.evaluate(f"{over}.hidden") is True
        assert page.errors == []


def many_people(database: Database) -> None:
    """Rows as the indexer would make them of a busy day."""
    with database.write() as connection:
        segment = connection.scalars(select(SEGMENTS.c.id)).first()
        rows = [
            {
                "camera": "yard" if number % 5 == 0 else "lobby",
                "session": "f" * 32,
                "track": number,
                "start_ms": START_MS - 60_000 * number,
                "end_ms": START_MS - 60_000 * number + 1000 * (number % 40),
                "length_ms": 1000 * (number % 40),
                "frames": 25,
                "largest_px": 20 + number % 100,
                "best_segment": segment,
                "best_seconds": 0.5,
                "best_ms": START_MS - 60_000 * number,
                **{"best_x": 10, "best_y": 20, "best_w": 30, "best_h": 40},
                "recoverable": number % 2 == 0,
            }
            for number in range(MANY)
        ]
        connection.execute(insert(connection, PEOPLE_TABLE), rows)


def test_thousands_of_people_need_few_elements(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    record(recordings, stream_of(50), start=START)
    card = "[...document.querySelectorAll('.grid article')]"
    with running_console(tmp_path, recorded=False) as console:
        with console.database() as database:
            many_people(database)
        with Player(f"{console.url}#/people?seconds=", tmp_path / "profile", (1280, 800)) as page:
            page.sign_in("guard")
            page.until("cards", f"{card}.length > 10")
            assert page.evaluate("document.querySelector('.subtitle').textContent") == (
                f"{MANY:,} cards"
            )
            most = page.evaluate(
                f"""(async () => {{
                    const scroller = document.querySelector('.people-scroll');
                    let most = 0;
                    for (let step = 0; step < 400; step += 1) {{
                        scroller.scrollTop += 6000;
                        await new Promise((resolve) => setTimeout(resolve, 15));
                        most = Math.max(most, {card}.length);
                        if (!document.querySelector('.people-tail').hidden) break;
                    }}
                    scroller.scrollTop = scroller.scrollHeight;
                    return most;
                }})()"""
            )
            assert 10 < most < 120
            page.until("the end", f"{card}.at(-1).dataset.index === '{MANY - 1}'")
            places = page.evaluate(f"{card}.map((one) => Number(one.dataset.index))")
            assert places == list(range(places[0], MANY))

            # of the chosen camera alone more can be chosen
            page.evaluate(
                "(() => { const input = document.querySelectorAll('.people-filters input')[2];"
                "input.value = '119'; input.dispatchEvent(new Event('input')); })()"
            )
            page.until("filtered", f"{card}.length === {MANY // 100}")
            assert "px=119" in page.evaluate("location.hash")
            boxes = page.evaluate(f"{card}.map((one) => one.querySelector('input').disabled)")
            assert boxes == [True] * (MANY // 100)  # odd ones: nothing is sealed
            page.evaluate("location.hash = '#/people?px=118'")
            page.until("others", f"{card}.some((one) => !one.querySelector('input').disabled)")
            page.evaluate(
                f"{card}.find((one) => !one.querySelector('input').disabled)"
                ".querySelector('input').click()"
            )
            bar = "document.querySelector('.selection-bar')"
            page.until("the bar", f"!{bar}.hidden")
            assert page.evaluate(f"{bar}.innerText").startswith("1 person of lobby")
            page.evaluate(f"{bar}.querySelector('.primary').click()")
            page.until("the request", "document.querySelector('dialog[open]') !== null")
            assert page.errors == []


def test_nothing_recorded_says_what_to_do(tmp_path: Path) -> None:
    with (
        running_console(tmp_path, recorded=False) as console,
        Watched(f"{console.url}#/recordings", tmp_path / "profile", (1280, 800)) as page,
    ):
        page.sign_in("guard")
        page.until("words", "document.body.innerText.includes('Nothing is recorded yet')")
        page.evaluate("location.hash = '#/people'")
        page.until("words", "document.body.innerText.includes('Nobody has been seen yet')")
        assert page.errors == []
