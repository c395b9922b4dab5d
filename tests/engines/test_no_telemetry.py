"""Nobody is told that this runs."""

from __future__ import annotations

import subprocess
import sys

QUESTION = """
import socket, threading
def refuse(*arguments, **more):
    raise AssertionError("a socket was opened")
socket.socket = refuse
import engines.ov, openvino, sys
assert sys.modules["openvino_telemetry"] is None
assert threading.active_count() == 1, threading.enumerate()
"""


def test_openvino_does_not_report_its_use() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", QUESTION], capture_output=True, text=True, check=False, timeout=60
    )
    assert asked.returncode == 0, asked.stderr
