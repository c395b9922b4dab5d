from __future__ import annotations

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.runtime.credentials import CredentialFilter, without_addresses, without_credentials

ROOT = Path(__file__).resolve().parents[3]
MARK = "Zq7"  # on both sides of every secret: no part of the text around holds it

schemes = st.sampled_from(["rtsp", "rtsps", "rtmp", "srt", "http", "https", "RTSP"])
# Whatever an operator may type, quotes, slashes and further @ included.
passwords = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_categories=["Z", "C"]),
    max_size=12,
)
words = st.text("abc XYZ09.,:;-'\"()[]{}<>=@", max_size=20)
queries = st.sampled_from(["user", "username", "password", "pwd", "token", "passphrase", "auth"])


@settings(max_examples=300)
@given(
    scheme=schemes,
    user=passwords,
    password=passwords,
    before=words,
    after=words,
    quote=st.sampled_from(["", "'", '"', "<"]),
)
@example("rtsp", "ops", "hun'ter2", "", "", "")
@example("rtsp", "ops", 'hun"ter2', "", "", "'")
@example("rtsp", "ops", "a@b/c?d#e:f", "", "", "")
@example("rtsp", "ops", "a?password=b", "", "", "")
@example("rtsp", "ops", "x", "rtsp://10.0.0.1:554/y and ", " mail me@work", "")
def test_no_user_name_and_no_password_survives(
    scheme: str, user: str, password: str, before: str, after: str, quote: str
) -> None:
    login = f"{MARK}{user}{MARK}:{MARK}{password}{MARK}"
    text = f"{before}{quote}{scheme}://{login}@10.0.0.9:554/cam1{quote}{after}"

    assert MARK not in without_credentials(text)


@given(scheme=schemes, user=passwords, password=passwords)
def test_the_place_stays_readable(scheme: str, user: str, password: str) -> None:
    url = f"{scheme}://{user}:{password}@10.0.0.9:554/cam1"
    assert without_credentials(url) == f"{scheme}://***@10.0.0.9:554/cam1"


@given(key=queries, value=passwords.filter(lambda text: "&" not in text))
@example("password", "it's")
@example("token", 'a"b;c')
@example("token", "a@b")
def test_no_secret_of_a_query_survives(key: str, value: str) -> None:
    url = f"http://10.0.0.9/video?channel=1&{key}={MARK}{value}{MARK}&size=2"
    assert MARK not in without_credentials(url)
    assert "@" in value or "channel=1" in without_credentials(url)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://ops:my hunter2 pass@10.0.0.9/cam1",
        "rtsp://hunter2@10.0.0.9/cam1",
        "rtsp://:hunter2@10.0.0.9/cam1",
        "rtsp://10.0.0.9:554/user=admin&password=hunter2&channel=1&stream=0.sdp",
        "rtsp://10.0.0.9:554/user=admin_password=hunter2_channel=1_stream=0.sdp",
        "http://10.0.0.9/mjpg?usr=admin&pwd=hunter2",
        "srt://10.0.0.9:9000?mode=caller&passphrase=hunter2",
        "srt://10.0.0.9:9000?streamid=hunter2",
        "rtmp://10.0.0.9/live?TOKEN=hunter2",
    ],
)
def test_the_ways_in_which_cameras_take_a_login(url: str) -> None:
    cleaned = without_credentials(url)
    assert "hunter2" not in cleaned
    assert "10.0.0.9" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lobby: no frame for 5 s",
        "rtsp://10.0.0.9:554/cam1: access denied",
        "write to ops@example.org",
        "clip user=ops.mp4",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert without_credentials(text) == text


def test_cleaning_twice_changes_nothing() -> None:
    once = without_credentials("rtsp://ops:hunter2@10.0.0.9/cam1?password=x")
    assert without_credentials(once) == once


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.addFilter(CredentialFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def heard() -> tuple[logging.Logger, list[str]]:
    log = logging.getLogger("somebody.elses.library")
    handler = _Records()
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.DEBUG)
    return log, handler.lines


URL = "rtsp://ops:hunter2@10.0.0.9/cam1"


def test_a_log_line_is_cleaned_whoever_wrote_it(heard: tuple[logging.Logger, list[str]]) -> None:
    log, lines = heard
    log.warning("cannot open %s", URL)
    log.info(URL)
    log.debug("%(url)s", {"url": URL})
    log.error("%r", [URL])

    assert len(lines) == 4
    assert all("hunter2" not in line and "10.0.0.9" in line for line in lines)


def test_an_exception_in_a_log_is_cleaned(heard: tuple[logging.Logger, list[str]]) -> None:
    log, lines = heard
    try:
        try:
            raise OSError(URL)
        except OSError as error:
            raise RuntimeError(f"opening {URL}") from error
    except RuntimeError:
        log.exception("while opening %s", URL)

    (line,) = lines
    assert "hunter2" not in line
    assert "opening rtsp://***@10.0.0.9/cam1" in line
    assert "Traceback" not in line  # its frames and causes could hold the URL again


def test_the_process_list_shows_no_argument(tmp_path: Path) -> None:
    """Any user of the machine may read a command line: the real program, while it waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://ops:hunter2@127.0.0.1:{silent.getsockname()[1]}/x"
        child = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "protect", url, str(tmp_path / "out.mp4")],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()  # it has read its arguments and waits for an answer
            with connection:
                shown = Path(f"/proc/{child.pid}/cmdline").read_bytes()
                names = [
                    path.read_text() for path in Path(f"/proc/{child.pid}/task").glob("*/comm")
                ]
            assert b"hunter2" not in shown
            assert b"rtsp" not in shown
            assert shown.rstrip(b"\0 ") == b"bauta protect"
            assert not any("hunter2" in name for name in names)
        finally:
            child.terminate()
            _, said = child.communicate(timeout=60)
    assert b"hunter2" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rtsp://10.0.0.7/s1: Connection refused", "Connection refused"),
        ("rtsp://ann:pa ss@10.0.0.7/s1: connected, but silent", "connected, but silent"),
        ("cannot open rtsp://[fe80::1]:554/live", "cannot open"),
        ("rtsp://10.0.0.7/s1", "not reachable"),
        ("the disk is full", "the disk is full"),
    ],
)
def test_addresses_go_whole(text: str, told: str) -> None:
    assert without_addresses(text) == told
