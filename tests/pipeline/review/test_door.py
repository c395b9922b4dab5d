"""Who gives way where there is no more room, with real sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from pipeline.review import door as door_module
from pipeline.review.door import Connection, Door, Listener


class Clients:
    """Pairs of sockets; the door has one end of each."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.door = Door()

    def come(self, address: str) -> tuple[Connection, socket.socket]:
        here, there = (self.stack.enter_context(end) for end in socket.socketpair())
        assert self.door.admit(here, address)
        connection = self.door.connection(here.fileno())
        assert connection is not None
        there.settimeout(0)
        return connection, there


def is_cut(client: tuple[Connection, socket.socket]) -> bool:
    try:
        return client[1].recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    monkeypatch.setattr(door_module, "MOST_CONNECTIONS", 6)
    monkeypatch.setattr(door_module, "MOST_OF_NETWORK", 3)
    monkeypatch.setattr(door_module, "MOST_OF_USER", 2)
    made = Clients()
    with made.stack:
        yield made


def test_the_oldest_stranger_of_a_network_gives_way(clients: Clients) -> None:
    other = clients.come("10.0.0.9")
    own = [clients.come(f"2001:db8::{number}") for number in range(5)]
    assert [is_cut(one) for one in (other, *own)] == [False, True, True, False, False, False]


def test_who_has_a_session_stays_whatever_strangers_do(clients: Clients) -> None:
    def whose(name: str) -> Callable[[], str]:
        return lambda: name

    waits = clients.come("10.0.0.1")
    waits[0].whose = whose("guard")  # a first answer that takes long
    viewers = [clients.come("10.0.0.1") for _ in range(3)]
    for connection, _ in viewers:
        connection.watch("guard")
    strangers = [clients.come(f"10.1.0.{number}") for number in range(20)]
    assert not any(is_cut(one) for one in (waits, *viewers))
    assert [is_cut(one) for one in strangers] == [True] * 18 + [False] * 2
    for (connection, _), name in zip(strangers[-2:], ("ann", "bob"), strict=True):
        clients.door.carries(connection, name)
    here, there = socket.socketpair()
    with here, there:
        assert not clients.door.admit(here, "10.0.0.2"), "nobody is left to give way"


def test_a_user_has_some_and_the_longest_unused_gives_way(clients: Clients) -> None:
    first, second, third = (clients.come(f"10.0.0.{number}") for number in range(3))
    for one in (first, second, first, third):
        clients.door.carries(one[0], "guard")
    assert [is_cut(one) for one in (first, second, third)] == [False, True, False]
    viewer = clients.come("10.0.0.5")
    viewer[0].watch("guard")
    clients.door.carries(first[0], "guard")
    assert not is_cut(viewer) and not is_cut(third), "pictures are counted elsewhere"
    viewer[0].watched()
    assert is_cut(third), "until they end"


def test_who_leaves_makes_room() -> None:
    with Listener(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.door = door = Door()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        for _ in range(3):
            with socket.create_connection(listener.getsockname(), 10):
                end, address = listener.accept()
                descriptor = end.fileno()
                assert address[0] == "127.0.0.1"
                assert door.connection(descriptor) is not None
                end.close()
                assert door.connection(descriptor) is None
