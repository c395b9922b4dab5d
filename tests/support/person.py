"""Somebody at a console, in a browser of their own: signs in, looks, clicks, downloads."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from pipeline.frames import U8Array

from .flow import wait_for
from .watched import Watched

DESK_PX = (1280, 800)
TILE = "document.querySelector('.tile-link[data-camera=%s]')?.closest('.tile')"
_PICTURE = """(() => {
    const video = %s;
    const canvas = Object.assign(document.createElement('canvas'),
        {width: video.videoWidth, height: video.videoHeight});
    canvas.getContext('2d').drawImage(video, 0, 0);
    return canvas.toDataURL('image/png').split(',')[1];
})()"""


class Person(Watched):
    """`shots`: where pictures of the pages go, for whoever wants to look at them."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self.name = name
        self.shots = folder
        self.files = folder / f"{name} downloads"
        super().__init__(url, folder / f"{name} profile", DESK_PX)
        self.downloads_to(self.files)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.screenshot(self.shots / f"{self.name} when it failed.png")
        super().__exit__(kind, error, trace)

    def sign_in_with(self, password: str) -> None:
        """By keyboard."""
        self.until("sign-in", "document.querySelector('input[type=password]') !== null")
        self.type_text(f"{self.name}\t{password}\n")
        self.until("the page after sign-in", "document.querySelector('.rail') !== null")

    def until(self, what: str, script: str) -> Any:
        """The script's value, once it is truthy. A site of several processes may be slow."""
        return wait_for(what, lambda: self.evaluate(script), every_s=0.1)

    def shoot(self, what: str) -> None:
        """A picture of the page, named for who looks at what."""
        self.screenshot(self.shots / f"{self.name} {what}.png")

    def button(self, words: str) -> str:
        """The visible button or link that says this; of the open dialog, where there is one."""
        return (
            "[...(document.querySelector('dialog[open]') ?? document)"
            ".querySelectorAll('button, a')].find((one) => one.checkVisibility()"
            f" && one.textContent.trim() === {json.dumps(words)})"
        )

    def labelled(self, words: str) -> str:
        """The control of the open dialog that has this label."""
        return (
            "[...document.querySelectorAll('dialog[open] label')]"
            f".find((one) => one.textContent.trim() === {json.dumps(words)})?.control"
        )

    def fill(self, label: str, text: str) -> None:
        """A field of the open dialog."""
        self.click(self.labelled(label))
        self.type_text(text)

    def downloaded(self, suffix: str) -> Path:
        """The only file of that kind, once it is whole."""
        (path,) = wait_for(f"a {suffix}", lambda: list(self.files.glob(f"*{suffix}")))
        return path

    # --- the wall ---

    def stats(self, camera: str) -> dict[str, Any]:
        """Of the player on the wall."""
        found: dict[str, Any] = self.evaluate(f"{TILE % camera}.tile.stats")
        return found

    def until_it_plays(self, camera: str) -> None:
        """The tile stands, and its picture moves."""
        frames = f"({TILE % camera}?.tile.stats.frames ?? 0)"
        self.until("frames", f"{frames} > 3")
        now = self.evaluate(f"{TILE % camera}.querySelector('video').currentTime")
        self.until(
            "its time goes on", f"{TILE % camera}.querySelector('video').currentTime > {now}"
        )

    def picture(self, video: str) -> U8Array:
        """What the browser has decoded: (H, W) luma in limited range, BT.709."""
        png = base64.b64decode(self.evaluate(_PICTURE % video))
        bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        weights = np.array([0.0722, 0.7152, 0.2126])
        luma: U8Array = np.rint(16 + 219 / 255 * (bgr @ weights)).astype(np.uint8)
        return luma
