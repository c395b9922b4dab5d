"""What the pipe brings to the console's process, and what becomes of it there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

from .live.facts import CameraFact, CameraFacts
from .live.hub import LiveHub
from .plan import ConsolePlan
from .wire import Begin, Bye, Config, End, Message, Piece, Refusal, Status, WireError

END_SECONDS = 5.0  # for the server to end once the cameras' process has gone


class Inbox:
    """What the pipe brings, applied as it comes; by one thread."""

    def __init__(self, plan: ConsolePlan, hub: LiveHub, facts: CameraFacts) -> None:
        self.plan, self.hub, self.facts = plan, hub, facts
        self.stop = threading.Event()  # of the server that runs now
        self._over = False  # the cameras' process has gone, or said so
        self.problem: str | None = None  # why it ends, where that is not on purpose

    def take(self, message: Message) -> None:
        """Apply one. Raises WireError for what does not belong here."""
        match message:
            case Piece(camera, fragment):
                self.hub.publish(camera, fragment)
            case Status(cameras):
                try:
                    facts = [CameraFact.from_json(one) for one in cameras]
                except ValueError as error:
                    raise WireError(str(error)) from None
                self.facts.update({fact.camera: fact for fact in facts})
                self.hub.tidy()
            case Begin(camera, init):
                self.hub.begin(camera, init)
            case End(camera, reason):
                self.hub.end(camera, reason)
            case Refusal(camera, reason):
                self.hub.refuse(camera, reason)
            case Config(cameras):
                self.plan = replace(self.plan, cameras=cameras)
                self.hub.keep_only(cameras)
                self.stop.set()  # the server begins anew with it; browsers come back by themselves
            case Bye():
                self.close()
            case _:
                raise WireError(f"{type(message).__name__} does not belong here")

    def take_all(self, messages: Iterator[Message]) -> None:
        """Until the pipe ends; the server does not outlive it."""
        try:
            for message in messages:
                self.take(message)
                if self._over:
                    break
        except WireError as error:
            self.problem = f"what came over the pipe is not ours: {error}"
        except OSError as error:
            self.problem = f"the pipe cannot be read: {error.strerror}"
        self.close()
        time.sleep(END_SECONDS)
        # a page that is still being served must not hold the port of the next console
        os._exit(1)

    def is_over(self) -> bool:
        """Whether nothing more is to be served."""
        return self._over

    def close(self, problem: str | None = None) -> None:
        """The end: the server stops. Idempotent."""
        self.problem = self.problem or problem
        self._over = True
        self.stop.set()
