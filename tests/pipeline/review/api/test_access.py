"""Every route with every role: the table in code, and what the server really does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.review.api.access import ACCESS
from pipeline.review.api.security import GuardedRoute
from pipeline.review.store import people, recordings
from support.console import PEOPLE, START_MS, Client, Console, running_console

ROLES = {name: {"viewer", *one.roles} for name, one in PEOPLE.items()}
SPAN = f"from_ms={START_MS}&to_ms={START_MS + 3000}"
UNSAFE = [key for key, allowed in ACCESS.items() if key[0] in ("POST", "PATCH", "DELETE")]
GUARDED = [key for key, allowed in ACCESS.items() if allowed is not None and key[0] != "WEBSOCKET"]


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console")) as running:
        running.begin_live("lobby")
        running.begin_live("vault")
        yield running


@pytest.fixture(scope="module")
def clients(console: Console) -> Iterator[dict[str, Client]]:
    made = {name: console.signed_in(name) for name in PEOPLE}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(scope="module")
def ids(console: Console) -> dict[str, dict[str, int]]:
    """camera -> a recording and a person of it."""
    with console.database() as database:
        return {
            camera: {
                "recording": recordings.segments(database, camera, 0, START_MS * 2)[0].id,
                "person": people.find(database, people.PeopleQuery(cameras=[camera])).people[0].id,
            }
            for camera in ("lobby", "vault")
        }


def call(
    client: Client,
    key: tuple[str, str],
    of: dict[str, int],
    camera: str = "lobby",
    **more: Any,
) -> int:
    """A request that is right in form; its status."""
    method, path = key
    number = of["person" if "people" in path else "recording"]
    url = (
        path.replace("{camera}", camera)
        .replace("/users/{name}", "/users/nobody")
        .replace("/live/{name}", "/live/1.m4s")
        .replace("/exports/{id}/{name}", f"/exports/{'0' * 32}/clip.mp4")
        .replace("/requests/{id}", "/requests/R-AAAAAAAA")
        .replace("{id}", str(number))
    )
    span = {"camera": camera, "from_ms": START_MS, "to_ms": START_MS + 3000}
    bodies: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/api/session"): {"name": "nobody", "password": "wrong"},
        ("POST", "/api/session/password"): {"old": "wrong", "new": "a new password 1"},
        ("POST", "/api/exports"): span,
        ("POST", "/api/requests"): {
            **span,
            "people": [of["person"]],
            "case": "17/26",
            "reason": "theft in the hall",
        },
        ("POST", "/api/requests/{id}/approve"): {"note": ""},
        ("POST", "/api/requests/{id}/refuse"): {"note": ""},
        ("POST", "/api/users"): {"name": "root", "password": "a new password 1", "roles": []},
        ("PATCH", "/api/users/{name}"): {"disabled": False},
    }
    if path == "/api/timeline":
        url += f"?{SPAN}&cameras={camera}"
    elif path == "/api/recordings":
        url += f"?{SPAN}&camera={camera}"
    elif path == "/api/people":
        url += f"?cameras={camera}"
    return client.request(method, url, json=bodies.get(key), **more).status_code


def test_the_table_and_the_app_name_the_same_routes(console: Console) -> None:
    from pipeline.review.api import (
        routes_cameras,
        routes_people,
        routes_recordings,
        routes_requests,
        routes_session,
        routes_system,
        routes_users,
    )
    from pipeline.review.api.app import openapi_router
    from pipeline.review.api.static_files import static_router

    made = [
        route
        for module in (
            *(routes_cameras, routes_people, routes_recordings, routes_requests),
            *(routes_session, routes_system, routes_users),
        )
        for route in module.router.routes
    ]
    made += [*openapi_router().routes, *static_router({}).routes]
    assert all(isinstance(route, GuardedRoute) for route in made)
    named = {
        (method, route.path)
        for route in made
        if isinstance(route, GuardedRoute)
        for method in route.methods or ()
    }
    sockets = {key for key in ACCESS if key[0] == "WEBSOCKET"}
    assert named | sockets == set(ACCESS)
    assert len(named) == len(made)


def test_a_route_that_the_table_does_not_name_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        GuardedRoute("/api/new", lambda: None, methods=["GET"])


def test_openapi_names_the_same_routes(console: Console) -> None:
    with console.anonymous() as client:
        schema = client.get("/openapi.json").json()
    named = {(method.upper(), path) for path, found in schema["paths"].items() for method in found}
    pages = {("GET", path) for path in ("/", "/static/{path:path}", "/api/docs", "/openapi.json")}
    assert named == {key for key in ACCESS if key[0] != "WEBSOCKET"} - pages
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            allowed = ACCESS[method.upper(), path]
            assert operation.get("x-roles", []) == (
                [] if allowed is None else sorted(allowed) or ["viewer"]
            )
            assert {"400", "401", "403", "404", "409", "413", "421", "422", "429", "503"} <= set(
                operation["responses"]
            )
            assert operation["operationId"] and operation["tags"]


@pytest.mark.parametrize("key", GUARDED, ids=" ".join)
def test_without_a_session_nothing_is_told(
    console: Console, ids: dict[str, dict[str, int]], key: tuple[str, str]
) -> None:
    with console.anonymous() as client:
        assert call(client, key, ids["lobby"]) == 401
        client.cookies.set("bauta_session", "made-up")
        assert call(client, key, ids["lobby"]) == 401


@pytest.mark.parametrize("key", GUARDED, ids=" ".join)
def test_each_role_may_what_the_table_says(
    clients: dict[str, Client], ids: dict[str, dict[str, int]], key: tuple[str, str]
) -> None:
    allowed = ACCESS[key]
    assert allowed is not None
    if key == ("DELETE", "/api/session"):
        return  # would sign out: test_session has it
    for name, client in clients.items():
        status = call(client, key, ids["lobby"])
        if allowed and not allowed & ROLES[name]:
            assert status == 403, name
        elif key == ("POST", "/api/session/password"):
            assert status in (403, 429), name  # the old one is wrong
        else:
            assert status not in (401, 403, 405, 500), (name, status)


@pytest.mark.parametrize("key", UNSAFE, ids=" ".join)
def test_what_changes_something_needs_the_token_and_our_own_page(
    console: Console,
    clients: dict[str, Client],
    ids: dict[str, dict[str, int]],
    key: tuple[str, str],
) -> None:
    for name in ("guard", "chief", "root"):
        client = clients[name]
        right = client.headers["X-CSRF-Token"]
        foreign = {"Origin": "http://elsewhere.example"}
        assert call(client, key, ids["lobby"], headers=foreign) == 403
        if ACCESS[key] is None:
            continue  # signing in has no session yet
        others = clients["looker"].headers["X-CSRF-Token"]
        for wrong in ("", "x" * len(right), right[:-1], right + "x", others):
            assert call(client, key, ids["lobby"], headers={"X-CSRF-Token": wrong}) == 403
        with console.anonymous(cookies=client.cookies) as without:
            assert call(without, key, ids["lobby"]) == 403
        assert client.get("/api/session").status_code == 200


@pytest.mark.parametrize(
    "key",
    [
        key
        for key in GUARDED
        if "{camera}" in key[1] or key[1].startswith(("/api/recordings", "/api/people", "/api/t"))
    ]
    + [("POST", "/api/exports"), ("POST", "/api/requests")],
    ids=" ".join,
)
def test_a_camera_of_others_is_not_there(
    clients: dict[str, Client], ids: dict[str, dict[str, int]], key: tuple[str, str]
) -> None:
    """404 in the same words as for one that does not exist; who may see all of them sees it."""
    name = "guard"
    assert call(clients[name], key, ids["vault"], "vault") == 404
    assert call(clients[name], key, {"recording": 9_999, "person": 9_999}, "attic") == 404
    if ACCESS[key] and "admin" not in (ACCESS[key] or ()):
        return
    assert call(clients["root"], key, ids["vault"], "vault") in (200, 201, 404, 503)
    if "live" not in key[1]:
        assert call(clients["root"], key, ids["vault"], "vault") != 404


def test_lists_leave_out_what_may_not_be_seen(clients: dict[str, Client]) -> None:
    seen = {
        name: {
            "cameras": [one["id"] for one in client.get("/api/cameras").json()],
            "people": {one["camera"] for one in client.get("/api/people").json()["people"]},
            "days": {
                camera["id"]
                for day in client.get("/api/days").json()["days"]
                for camera in day["cameras"]
            },
            "timeline": {
                one["id"] for one in client.get(f"/api/timeline?{SPAN}").json()["cameras"]
            },
        }
        for name, client in clients.items()
    }
    for name, theirs in (
        ("root", ["lobby", "yard", "vault"]),
        ("guard", ["lobby", "yard"]),
        ("looker", ["lobby"]),
    ):
        assert seen[name] == {
            "cameras": theirs,
            "people": set(theirs),
            "days": set(theirs),
            "timeline": set(theirs),
        }
