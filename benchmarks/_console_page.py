"""What a guard's browser sees of the console, asked of a real Chromium.

Each picture of the simulated camera carries the monotonic clock of the moment before it was
encoded, as black and white blocks; the page's script reads them off the video as it is presented.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.source.scene import (
    TIMECODE_BITS,
    TIMECODE_BLOCK_PX,
    TIMECODE_HEIGHT_PX,
    TIMECODE_WIDTH_PX,
)

from ._live import F64, ROOT

WRAP_MS = 1 << TIMECODE_BITS
# Noted from the first byte of the document on: when the wall stands, and when a picture moves.
_WATCH = """
window.__seen = {};
const note = (what) => { window.__seen[what] ??= performance.now(); };
new MutationObserver(() => { if (document.querySelector('.tile')) note('wall'); })
  .observe(document, {childList: true, subtree: true});
document.addEventListener('playing', () => note('picture'), true);
"""
_SAMPLE = """
(async (seconds) => {
  const [bits, block, width, height] = %s;
  const video = document.querySelector('video');
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const found = [];
  let unreadable = 0;
  const end = performance.now() + seconds * 1000;
  await new Promise((done) => {
    const look = (now) => {
      const shown = performance.timeOrigin + performance.now();
      context.drawImage(video, 0, 0, width, height, 0, 0, width, height);
      const {data} = context.getImageData(0, 0, width, height);
      let value = 0, sure = true;
      for (let bit = 0; bit < bits; bit += 1) {
        const x = bit * block + block / 2;
        const upper = data[(block / 2 * width + x) * 4];
        const lower = data[(block * 3 / 2 * width + x) * 4];
        if (Math.abs(upper - lower) < 80) sure = false;
        value = value * 2 + (upper > lower ? 1 : 0);
      }
      if (sure) found.push([shown, value]); else unreadable += 1;
      if (performance.now() < end) video.requestVideoFrameCallback(look); else done();
    };
    video.requestVideoFrameCallback(look);
  });
  return JSON.stringify({found, unreadable});
})(%g)
"""


@contextmanager
def guard(url: str, name: str, password: str, profile: Path) -> Iterator[Any]:
    """A Chromium signed in to the console, on no page yet. Yields a `support.browser.Browser`."""
    tests = str(ROOT / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    from support.browser import Browser, chromium

    if chromium() is None:
        raise RuntimeError("no Chromium is installed; --no-browser leaves this part out")
    with Browser(f"{url}healthz", profile) as browser:
        words = json.dumps({"name": name, "password": password})
        status = browser.evaluate(
            "fetch('/api/session', {method: 'POST', headers: {'Content-Type': 'application/json'},"
            f" body: {json.dumps(words)}}}).then((answer) => answer.status)"
        )
        if status != 200:
            raise RuntimeError(f"the console refused the sign-in: {status}")
        browser.call("Page.enable")
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
        yield browser


def opened(browser: Any, url: str, *, timeout_seconds: float = 30.0) -> tuple[float, float]:
    """(wall, picture): milliseconds from the visit's start until each was there."""
    browser.call("Page.navigate", url=f"{url}#/live")
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        seen = json.loads(browser.evaluate("JSON.stringify(window.__seen ?? {})"))
        if "wall" in seen and "picture" in seen:
            return float(seen["wall"]), float(seen["picture"])
        time.sleep(0.1)
    raise RuntimeError("the live wall showed no moving picture")


def glass_to_browser_ms(browser: Any, seconds: float) -> tuple[F64, int]:
    """Of each frame presented: the time since the camera's moment. And how many were unreadable."""
    geometry = [TIMECODE_BITS, TIMECODE_BLOCK_PX, TIMECODE_WIDTH_PX, TIMECODE_HEIGHT_PX]
    found: list[list[float]] = []
    unreadable = 0
    begun = time.monotonic()
    while (left := seconds - (time.monotonic() - begun)) > 0:
        part = json.loads(browser.evaluate(_SAMPLE % (json.dumps(geometry), min(left, 10.0))))
        found += part["found"]
        unreadable += part["unreadable"]
    clock_ms = time.time() * 1e3 - time.monotonic() * 1e3  # one machine, two clocks
    late = [(shown - clock_ms - stamp) % WRAP_MS for shown, stamp in found]
    return np.array(late, np.float64), unreadable
