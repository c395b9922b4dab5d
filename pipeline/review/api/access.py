"""Who may call what: one table of every route. A route that is not in it cannot be made.

Every signed-in user may look at what their cameras have seen (viewer); the other roles add to it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..store.accounts import Role

PUBLIC: frozenset[Role] | None = None
"""No session is asked for."""

ANYBODY: frozenset[Role] = frozenset()
"""Whoever is signed in."""

REQUESTER: frozenset[Role] = frozenset({"requester"})
APPROVER: frozenset[Role] = frozenset({"approver"})
ADMIN: frozenset[Role] = frozenset({"admin"})
OFFICERS = REQUESTER | APPROVER | ADMIN

ACCESS: Mapping[tuple[str, str], frozenset[Role] | None] = {
    # site and session
    ("GET", "/api/site"): PUBLIC,
    ("POST", "/api/session"): PUBLIC,  # signs in
    ("GET", "/api/session"): PUBLIC,  # 401 without one; the demo signs in
    ("DELETE", "/api/session"): ANYBODY,
    ("POST", "/api/session/password"): ANYBODY,
    # cameras
    ("GET", "/api/cameras"): ANYBODY,
    ("GET", "/api/cameras/{camera}/live.m3u8"): ANYBODY,
    ("GET", "/api/cameras/{camera}/live/{name}"): ANYBODY,
    ("GET", "/api/cameras/{camera}/snapshot.png"): ANYBODY,
    ("WEBSOCKET", "/api/cameras/{camera}/live"): ANYBODY,
    # recordings
    ("GET", "/api/days"): ANYBODY,
    ("GET", "/api/timeline"): ANYBODY,
    ("GET", "/api/recordings"): ANYBODY,
    ("GET", "/api/recordings/{id}/fragments"): ANYBODY,
    ("GET", "/api/recordings/{id}/media"): ANYBODY,
    ("GET", "/api/recordings/{id}/playlist.m3u8"): ANYBODY,
    ("POST", "/api/exports"): OFFICERS,
    ("GET", "/api/exports/{id}/{name}"): OFFICERS,  # its maker
    # people
    ("GET", "/api/people"): ANYBODY,
    ("GET", "/api/people/{id}"): ANYBODY,
    ("GET", "/api/people/{id}/thumbnail.jpg"): ANYBODY,
    # recovery requests: whose they are, RequestFlow looks at
    ("GET", "/api/requests"): ANYBODY,
    ("POST", "/api/requests"): REQUESTER,
    ("GET", "/api/requests/{id}"): ANYBODY,
    ("POST", "/api/requests/{id}/approve"): APPROVER,
    ("POST", "/api/requests/{id}/refuse"): APPROVER,
    ("POST", "/api/requests/{id}/withdraw"): ANYBODY,  # its requester
    ("GET", "/api/requests/{id}/file"): OFFICERS,
    ("GET", "/api/requests/{id}/clip"): OFFICERS,
    # users and the log
    ("GET", "/api/users"): ADMIN,
    ("POST", "/api/users"): ADMIN,
    ("PATCH", "/api/users/{name}"): ADMIN,
    ("DELETE", "/api/users/{name}"): ADMIN,
    ("GET", "/api/audit"): APPROVER | ADMIN,
    # for machines
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,  # from this machine, else an admin's session
    # the page
    ("GET", "/"): PUBLIC,
    ("GET", "/static/{path:path}"): PUBLIC,
    ("GET", "/api/docs"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
}
