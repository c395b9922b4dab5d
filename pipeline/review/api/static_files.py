"""The page's own files, read once: no request ever reaches the file system."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from .errors import no_such
from .security import GuardedRoute

FOLDER = Path(__file__).resolve().parents[1] / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
INDEX, DOCS = "index.html", "api-docs.html"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file."""

    kind: str  # media type
    body: bytes = field(repr=False)
    etag: str


def read_static_files(folder: Path = FOLDER) -> Mapping[str, StaticFile]:
    """By the path below `folder`, with slashes."""
    return {
        path.relative_to(folder).as_posix(): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in TYPES
    }


def _read(path: Path) -> StaticFile:
    body = path.read_bytes()
    return StaticFile(TYPES[path.suffix], body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def static_router(files: Mapping[str, StaticFile]) -> APIRouter:
    """/, /static/… and /api/docs."""
    router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

    async def page(request: Request) -> Response:
        return _answer(request, files, INDEX)

    async def docs(request: Request) -> Response:
        return _answer(request, files, DOCS)

    async def static(request: Request, path: str) -> Response:
        return _answer(request, files, path)

    router.add_api_route("/", page, methods=["GET"], response_class=Response)
    router.add_api_route("/api/docs", docs, methods=["GET"], response_class=Response)
    router.add_api_route("/static/{path:path}", static, methods=["GET"], response_class=Response)
    return router


def _answer(request: Request, files: Mapping[str, StaticFile], name: str) -> Response:
    file = files.get(name)
    if file is None:
        raise no_such("file")
    headers = {"Cache-Control": "no-cache", "ETag": file.etag}  # kept, and asked after each time
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.kind)
