"""A page of the console in a real browser: its errors are kept, and people sign in by keyboard."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from .browser import Browser
from .console import PEOPLE

SECONDS = 20.0


class Watched(Browser):
    """Keeps what a developer would see in red: errors of scripts, and what the policy forbids."""

    def __init__(self, url: str, profile: Path, size_px: tuple[int, int]) -> None:
        self.errors: list[str] = []
        super().__init__("about:blank", profile, size_px=size_px)
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Page.navigate", url=url)

    def _receive(self) -> bytes:
        message = super()._receive()
        event = json.loads(message)
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(str(parameters["args"]))
        elif event.get("method") == "Log.entryAdded":
            entry = parameters["entry"]
            if entry["level"] == "error" and entry["source"] != "network":
                self.errors.append(str(entry["text"]))
        return message

    def until(self, what: str, script: str) -> Any:
        """The script's value, once it is truthy."""
        deadline = time.monotonic() + SECONDS
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, (what, self.evaluate("document.body.innerText"))
            time.sleep(0.1)
        return value

    def sign_in(self, name: str) -> None:
        """By keyboard, as a person would."""
        self.until("sign-in", "document.querySelector('input[type=password]') !== null")
        for text in (name, "\t", PEOPLE[name].password, "\r"):
            for key in (text,) if text in "\t\r" else text:
                named = {"\t": "Tab", "\r": "Enter"}.get(key, key)
                code = {"\t": 9, "\r": 13}.get(key, 0)
                self.call(
                    "Input.dispatchKeyEvent",
                    **{"type": "keyDown", "key": named, "text": key},
                    windowsVirtualKeyCode=code,
                )
                self.call("Input.dispatchKeyEvent", type="keyUp", key=named)
        self.until("the page after sign-in", "document.querySelector('.rail') !== null")
