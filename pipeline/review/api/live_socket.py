"""Live pictures over a WebSocket: what the player needs as text, then fragments as they come.

text {"mime", "width", "height"}, binary init, binary fragments …; again with each new stream
text {"state": "waiting", "reason"}       while there is none
close 4401 session over, 4404 no such camera, 4406 browsers cannot show it, 1013 too many watch
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from ..door import CONNECTION, Connection
from ..live.hub import InitSegment, LiveHub
from .context import Context, context_of
from .security import Caller, caller_of, find_caller

SESSION_OVER, NO_CAMERA, REFUSED, TOO_MANY = 4401, 4404, 4406, 1013
MOST_VIEWERS = 64  # of this server
MOST_VIEWERS_OF_USER = 24
SESSION_SECONDS = 3.0  # between two looks whether the session still holds
SEND_SECONDS = 10.0  # a client that takes nothing for so long is gone


async def live_socket(socket: WebSocket) -> None:
    """One viewer of one camera, until either side has had enough."""
    context = context_of(socket)
    camera = socket.path_params["camera"]
    caller = await caller_of(socket)
    await socket.accept()
    if caller is None:
        await socket.close(SESSION_OVER, "nobody is signed in")
        return
    if camera not in context.plan.cameras or not caller.account.may(camera):
        await socket.close(NO_CAMERA, "there is no such camera")
        return
    viewers, name = context.counts.viewers, caller.account.name
    if viewers.total() >= MOST_VIEWERS or viewers[name] >= MOST_VIEWERS_OF_USER:
        await _say(socket, "waiting", "too many pictures are being watched; close some")
        await socket.close(TOO_MANY, "too many are watching")
        return
    viewers[name] += 1
    connection = _connection(socket)
    if connection is not None:
        connection.watch(name)
    try:
        await _serve(socket, context, camera, caller)
    finally:
        if connection is not None:
            connection.watched()
        viewers[name] -= 1
        if not viewers[name]:
            del viewers[name]


async def _serve(socket: WebSocket, context: Context, camera: str, caller: Caller) -> None:
    """Sends until somebody leaves; whichever of the three ends first ends the others."""
    tasks = {
        asyncio.create_task(_pictures(socket, context.hub, camera)),
        asyncio.create_task(_listen(socket)),
        asyncio.create_task(_session_ends(context, camera, caller)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    codes: list[int] = []
    for result in results:
        if isinstance(result, int):
            codes.append(result)
        elif isinstance(result, TimeoutError):
            if connection := _connection(socket):
                connection.abort()  # without waiting for its buffers
            return
        elif isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
            raise result
    assert done
    if codes and socket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it left at this moment
            await socket.close(codes[0])


async def _pictures(socket: WebSocket, hub: LiveHub, camera: str) -> int:
    """The code to close with. Raises TimeoutError where the client takes nothing."""
    async with hub.watch(camera) as viewer:
        said: str | None = None
        while True:
            if reason := hub.refusal(camera):
                await _say(socket, "refused", reason)
                return REFUSED
            reason = hub.waiting(camera)
            if reason is not None and reason != said:
                await _say(socket, "waiting", reason)
            said = reason
            try:
                items = await viewer.next()
            except TimeoutError:
                continue  # a camera that is slow; or there is still none
            for item in items:
                async with asyncio.timeout(SEND_SECONDS):
                    if isinstance(item, InitSegment):
                        about = {"mime": item.mime, "width": item.width, "height": item.height}
                        await socket.send_text(json.dumps(about))
                    await socket.send_bytes(item.data)


async def _listen(socket: WebSocket) -> int:
    """What the client says is not wanted; that it leaves is."""
    while True:
        await socket.receive()
        if socket.client_state is WebSocketState.DISCONNECTED:
            raise WebSocketDisconnect


async def _session_ends(context: Context, camera: str, caller: Caller) -> int:
    """Looks again and again; each look counts as activity of the session."""
    while True:
        await asyncio.sleep(SESSION_SECONDS)
        now = await run_in_threadpool(find_caller, context, caller.token)
        if now is None:
            return SESSION_OVER
        if camera not in context.plan.cameras or not now.account.may(camera):
            return NO_CAMERA


async def _say(socket: WebSocket, state: str, reason: str) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await socket.send_text(json.dumps({"state": state, "reason": reason}))


def _connection(socket: WebSocket) -> Connection | None:
    found: Connection | None = socket.scope.get("state", {}).get(CONNECTION)
    return found
