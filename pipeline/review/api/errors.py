"""Errors as the API answers them: a status and {"error": "one line for people"}.

Web errors are made here and in the routes alone; errors of the other parts are translated once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ...errors import (
    AccountRefused,
    ActorRefused,
    BautaError,
    RecordingError,
    RequestRefused,
    StoreError,
    UsageError,
)
from .schemas import ErrorOut

LONGEST_LINE = 400  # characters
STATUSES = (400, 401, 403, 404, 409, 413, 421, 422, 429, 503)
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorOut, "description": HTTPStatus(status).phrase} for status in STATUSES
}
"""For every route."""

_WHERE = ("body", "query", "path", "header")
_log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer that is no success. `message` is for people, and holds nothing secret."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """{"error": message}, on one printable line."""
    return JSONResponse({"error": one_line(message)}, status, dict(headers or {}))


def one_line(text: str) -> str:
    """Printable, at most 400 characters: parts of it may come from the request."""
    clean = "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))
    return clean if len(clean) <= LONGEST_LINE else f"{clean[: LONGEST_LINE - 1]}…"


def no_such(what: str) -> ApiError:
    """404, in the same words whether it is not there or may not be seen."""
    return ApiError(404, f"there is no such {what}")


def from_error(error: BautaError) -> ApiError:
    """What an error of the other parts means to a client."""
    if isinstance(error, UsageError):
        return ApiError(422, str(error))
    if isinstance(error, ActorRefused):
        return ApiError(403, str(error))
    if isinstance(error, RequestRefused | AccountRefused | RecordingError):
        return ApiError(409, str(error))
    _log.error("console: %s", error)
    if isinstance(error, StoreError):  # it names files and hosts
        return ApiError(503, "the database does not answer; try again")
    return ApiError(503, "this cannot be done now; ask who runs this service")


def install(app: FastAPI) -> None:
    """Every error of `app` in this form."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(BautaError, _bauta_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return answer(error.status, error.message, error.headers)


async def _bauta_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BautaError)
    return await _api_error(request, from_error(error))


async def _validation_error(request: Request, error: Exception) -> Response:
    """The first thing that is wrong, by the name of its field; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return answer(422, "the body is no JSON")
    place = [str(part) for part in first["loc"] if part not in _WHERE]
    message = str(first["msg"])
    if first["type"] == "string_pattern_mismatch":
        message = "has letters that are not allowed here, or is no such value"
    return answer(422, f"{'.'.join(place) or 'the body'}: {message[:1].lower()}{message[1:]}")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase.lower()
    return answer(error.status_code, phrase, error.headers)
