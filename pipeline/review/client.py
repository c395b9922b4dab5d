"""The console's API for commands: sign in, ask, fetch. Errors are one line each.

The password goes over TLS, or not further than this machine; no proxy is asked.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from ..errors import ConsoleError, SinkError, UsageError
from .api.schemas import SessionOut

TIMEOUT_SECONDS = 30.0
DECIDING_SECONDS = 600.0  # an approval reads an hour of recordings
MOST_ANSWER_BYTES = 64 * 2**20  # of an answer that is held in memory
_CSRF_HEADER = "X-CSRF-Token"
_NAME = re.compile(r'filename="([A-Za-z0-9][A-Za-z0-9_.-]{0,150})"')

Kind = TypeVar("Kind", bound=BaseModel)


class ConsoleClient:
    """One session at one console; use it with `with`, which signs out at its end."""

    def __init__(
        self, server: str, *, ca: Path | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`server` is its URL, `ca` a PEM file of who signed its certificate. Raises UsageError."""
        self._server = _checked(server)
        self._csrf: str | None = None
        self._client = httpx.Client(
            base_url=self._server,
            verify=_trusted(ca) if self._server.scheme == "https" else False,
            transport=transport,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            headers={"Accept": "application/json"},
        )

    def __enter__(self) -> ConsoleClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._csrf is not None:
                self._client.delete("/api/session", headers={_CSRF_HEADER: self._csrf})
        except httpx.HTTPError:
            pass  # the session ends by itself
        finally:
            self._client.close()

    def sign_in(self, name: str, password: str) -> None:
        """Raises ConsoleError."""
        answer = self.post(SessionOut, "/api/session", {"name": name, "password": password})
        self._csrf = answer.csrf

    def get(self, kind: type[Kind], path: str, **query: object) -> Kind:
        """A GET; query values of None are left out. Raises ConsoleError."""
        chosen = {name: _text(value) for name, value in query.items() if value is not None}
        return self._asked(kind, "GET", path, params=chosen)

    def post(self, kind: type[Kind], path: str, body: Mapping[str, object] | None = None) -> Kind:
        """A POST of JSON. Raises ConsoleError."""
        headers = {} if self._csrf is None else {_CSRF_HEADER: self._csrf}
        return self._asked(
            *(kind, "POST", path),
            content=json.dumps(body or {}).encode(),
            headers={**headers, "Content-Type": "application/json"},
            timeout=DECIDING_SECONDS,
        )

    def download(self, path: str, choose: Callable[[str], Path], *, overwrite: bool) -> Path:
        """A file, to the disk as it comes, for its owner alone: where it is.

        `choose` says where, by the name that the console gives it. Raises ConsoleError, SinkError,
        and what `choose` raises.
        """
        with self._errors(), self._streamed(path) as response:
            dest = choose(_file_name(response))
            part = dest.with_name(f".{dest.name}.part")
            try:
                part.unlink(missing_ok=True)
                handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                if overwrite:
                    part.replace(dest)
                else:
                    os.link(part, dest)  # never over what somebody put there meanwhile
            except OSError as error:
                raise SinkError(f"{dest}: {error.strerror}") from None
            finally:
                part.unlink(missing_ok=True)
        return dest

    # --- below ---

    def _asked(self, kind: type[Kind], method: str, path: str, **more: Any) -> Kind:
        with self._errors(), self._client.stream(method, path, **more) as response:
            body = self._read(response)
            self._check(response, body)
        try:
            return kind.model_validate_json(body)
        except ValidationError:
            raise self._no_console() from None

    @contextmanager
    def _streamed(self, path: str) -> Iterator[httpx.Response]:
        with self._client.stream("GET", path, timeout=DECIDING_SECONDS) as response:
            if not response.is_success:
                self._check(response, self._read(response))
            yield response

    def _read(self, response: httpx.Response) -> bytes:
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > MOST_ANSWER_BYTES:
                raise ConsoleError(f"{self._server}: its answer is too long")
        return bytes(data)

    def _check(self, response: httpx.Response, body: bytes) -> None:
        if response.is_success:
            return
        found = _json(body)
        told = found.get("error") if isinstance(found, dict) else None
        if not isinstance(told, str):
            raise self._no_console(f" (status {response.status_code})")
        wait = response.headers.get("Retry-After", "")
        again = f"; again in {wait} s" if wait.isdigit() and wait not in told else ""
        raise ConsoleError(f"{told}{again}")

    def _no_console(self, more: str = "") -> ConsoleError:
        return ConsoleError(f"{self._server} does not answer as a console of bauta does{more}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException:
            raise ConsoleError(f"{self._server} does not answer in time") from None
        except httpx.ConnectError as error:
            raise ConsoleError(
                f"{self._server} cannot be reached: {_reason(error)}; is the console running there?"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ConsoleError(f"{self._server}: {_reason(error)}") from None


def _checked(server: str) -> httpx.URL:
    """Where a password may go. Raises UsageError; nothing of a password in the URL is repeated."""
    try:
        url = httpx.URL(server)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise UsageError("--server must be a URL such as https://console.example:8080") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError("--server must be a URL such as https://console.example:8080")
    if url.userinfo:
        raise UsageError("--server must hold no name and password: give --user, and be asked")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise UsageError("--server is the console's address alone, without a path")
    if url.scheme == "http" and not _is_this_machine(url.host):
        raise UsageError(
            f"http://{url.host} would carry the password in clear: use https, or a tunnel to this "
            "machine"
        )
    return url


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trusted(ca: Path | None) -> ssl.SSLContext:
    """This machine's authorities, or those in a file alone. Raises UsageError."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (OSError, ssl.SSLError) as error:
        told = error.strerror if isinstance(error, FileNotFoundError) else "holds no certificate"
        raise UsageError(f"--ca {ca}: {told}") from None


def _file_name(response: httpx.Response) -> str:
    """What the console calls it; empty where that is no plain name."""
    found = _NAME.search(response.headers.get("Content-Disposition", ""))
    return found[1] if found else ""


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reason(error: Exception) -> str:
    """Without what a library adds to it."""
    cause = error.__cause__ or error.__context__ or error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    told = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return " ".join(str(told).split())
