"""What a console's process may say: a hostile one is ended, and cannot write into our log."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from pipeline.review import feed as feed_module
from pipeline.review.answers import Answers, is_own_url
from pipeline.review.feed import ConsoleFeed
from pipeline.review.plan import ConsolePlan
from pipeline.review.wire import Bye, Failed, Ready, WireError
from pipeline.settings import ConsoleSettings
from support.flow import wait_for

LOCAL = ConsoleSettings(port=8080)
TLS = ConsoleSettings.model_validate(
    {
        "address": "0.0.0.0",
        "port": 0,
        "tls": {"cert": "/c.pem", "key": "/k.pem"},
        "names": ["Cctv.example.org"],
    }
)
LIAR = """
import socket, sys
from pipeline.review.wire import Failed, Ready, pack, read_messages
pipe = socket.socket(fileno=int(sys.argv[1]))
plan = next(read_messages(pipe.makefile("rb"))).plan
url = f"http://127.0.0.1:{plan.settings.port}/"
words = {
    "again": [Ready(url), Failed("x", False), Ready(url), Failed("y", False)],
    "ready": [Ready(url), Ready(url)],
    "elsewhere": [Ready("http://203.0.113.9/")],
    "lines": [Failed("one\\nERROR two\\x1b[2J", False)],
}[plan.site]
pipe.sendall(b"".join(map(pack, words)))
pipe.recv(1 << 20)
while pipe.recv(1 << 20):
    pass
"""


@pytest.mark.parametrize(
    ("url", "settings", "is_own"),
    [
        ("http://127.0.0.1:8080/", LOCAL, True),
        ("http://localhost:8080/", LOCAL, True),
        ("https://127.0.0.1:8080/", LOCAL, False),
        ("http://127.0.0.1:8081/", LOCAL, False),
        ("http://127.0.0.1/", LOCAL, False),
        ("http://127.0.0.1:8080/x", LOCAL, False),
        ("http://127.0.0.1:8080/?x", LOCAL, False),
        ("http://u:p@127.0.0.1:8080/", LOCAL, False),
        ("http://203.0.113.9:8080/", LOCAL, False),
        ("http://127.0.0.1:8080/\n", LOCAL, False),
        ("http://127.0.0.1:80\n80/", LOCAL, False),
        ("http://127.0.0.1:8080/\x1b[2J", LOCAL, False),
        ("http://127.0.0.1:808\u0660/", LOCAL, False),
        ("file:///etc/passwd", LOCAL, False),
        ("javascript:alert(1)", LOCAL, False),
        ("http://[::1", LOCAL, False),
        ("", LOCAL, False),
        ("http://[::1]:7/", ConsoleSettings(address="::1", port=7), True),
        ("https://Cctv.example.org:40001/", TLS, True),
        ("https://127.0.0.1:40001/", TLS, True),
        ("http://127.0.0.1:40001/", TLS, False),
    ],
)
def test_the_address_is_its_own(url: str, settings: ConsoleSettings, is_own: bool) -> None:
    assert is_own_url(url, settings) is is_own


def test_one_word_for_each_plan() -> None:
    answers, ready = Answers(), Ready("http://127.0.0.1:8080/")
    with pytest.raises(WireError, match="again"):
        answers.accept(ready, LOCAL)
    answers.expect()
    answers.expect()
    assert [answers.accept(ready, LOCAL) for _ in range(2)] == [ready, ready]
    with pytest.raises(WireError, match="again"):
        answers.accept(ready, LOCAL)
    with pytest.raises(WireError, match="Bye is not for it to say"):
        answers.accept(Bye(), LOCAL)
    assert answers.accept(Failed("a\nb" * 1000, True), LOCAL) == Failed(("a?b" * 1000)[:1000], True)


@pytest.mark.parametrize(
    ("what", "told", "urls"),
    [
        ("again", "x", 1),
        ("ready", "it said what it may not: it says again that it is ready", 1),
        ("elsewhere", "it said what it may not: it names an address that is not its own", 0),
        ("lines", "one?ERROR two?[2J", 0),
    ],
)
def test_a_liar_is_ended_and_waited_for(
    what: str,
    told: str,
    urls: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pauses = feed_module.PAUSES.model_copy(update={"first_pause": 30.0, "longest_pause": 30.0})
    monkeypatch.setattr(feed_module, "PAUSES", pauses)
    plan = ConsolePlan(site=what, settings=LOCAL, state_dir=tmp_path, cameras=(), folders=())
    feed = ConsoleFeed(plan, command=(sys.executable, "-c", LIAR))
    with caplog.at_level(logging.WARNING):
        feed.start()
        try:
            wait_for("its end", lambda: feed.pid is None and feed._backoff.failures == 1)
            assert feed.url is None
        finally:
            feed.close()
    said = [line for line in caplog.messages if line.startswith("console: ")]
    assert len(said) == urls + 1, said
    assert said[-1] == f"console: {told}; the cameras go on, and it is tried again"
