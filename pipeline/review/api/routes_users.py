"""Accounts, for admins. Each change is in the audit log before it is made, and signs the user out.

The last admin cannot be removed, disabled or demoted (409).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.concurrency import run_in_threadpool

from ..passwords import check_rule
from ..store import accounts
from ..store.accounts import KEEP, Account
from .audit import logged
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError, no_such
from .schemas import NewUser, UserChange, UserName, UserOut, UsersOut
from .security import BODY_BYTES, GuardedRoute, SignedIn, hashing, now_ms

router = APIRouter(
    route_class=GuardedRoute, tags=["users"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)
NameInPath = Annotated[UserName, Path()]


@router.get("/api/users", operation_id="listUsers")
def users(context: Ctx, caller: SignedIn) -> UsersOut:
    """All of them, by name."""
    return UsersOut(users=[_shown(one) for one in accounts.list(context.database)])


@router.post("/api/users", operation_id="createUser", status_code=201)
async def create(body: NewUser, request: Request, context: Ctx, caller: SignedIn) -> UserOut:
    """409 where the name is taken."""
    async with hashing(request):
        return await run_in_threadpool(_create, context, caller.account, body)


@router.patch("/api/users/{name}", operation_id="changeUser")
async def change(
    name: NameInPath, body: UserChange, request: Request, context: Ctx, caller: SignedIn
) -> UserOut:
    """What is left out of the body stays."""
    async with hashing(request):
        return await run_in_threadpool(_change, context, caller.account, name, body)


@router.delete("/api/users/{name}", operation_id="removeUser", status_code=204)
def remove(name: NameInPath, context: Ctx, caller: SignedIn) -> None:
    """For good; the user's requests stay."""
    account = _existing(context, name)
    _keeps_an_admin(context, account)
    with logged(context, "user-remove", caller.account.name, account=account.name):
        accounts.remove(context.database, account.name, actor=caller.account)


# --- inside; these block ---


def _create(context: Context, admin: Account, body: NewUser) -> UserOut:
    name = accounts.clean_name(body.name)
    check_rule(body.password, name)
    if accounts.get(context.database, name) is not None:
        raise ApiError(409, f"there is an account {name} already")
    said: dict[str, object] = {
        "account": name,
        "roles": sorted({"viewer", *body.roles}),
        "cameras": None if body.cameras is None else sorted(set(body.cameras)),
    }
    with logged(context, "user-create", admin.name, **said):
        made = accounts.create(
            context.database,
            name,
            body.password,
            roles=body.roles,
            cameras=body.cameras,
            now_ms=now_ms(),
            actor=admin,
        )
    return _shown(made)


def _change(context: Context, admin: Account, name: str, body: UserChange) -> UserOut:
    account = _existing(context, name)
    given = body.model_fields_set
    if not given:
        raise ApiError(422, "the body: give at least one of roles, cameras, disabled, password")
    if body.password is not None:
        check_rule(body.password, account.name)
    if ("roles" in given and "admin" not in body.roles) or ("disabled" in given and body.disabled):
        _keeps_an_admin(context, account)
    said: dict[str, object] = {"account": account.name, "password": body.password is not None}
    if "roles" in given:
        said["roles"] = sorted({"viewer", *body.roles})
    if "cameras" in given:
        said["cameras"] = None if body.cameras is None else sorted(set(body.cameras))
    if "disabled" in given:
        said["disabled"] = body.disabled
    with logged(context, "user-change", admin.name, **said):
        changed = accounts.change(
            context.database,
            account.name,
            roles=body.roles if "roles" in given else None,
            cameras=body.cameras if "cameras" in given else KEEP,
            disabled=body.disabled if "disabled" in given else None,
            password=body.password,
            actor=admin,
        )
    return _shown(changed)


def _existing(context: Context, name: str) -> Account:
    account = accounts.get(context.database, name)
    if account is None:
        raise no_such("account")
    return account


def _keeps_an_admin(context: Context, account: Account) -> None:
    """The store refuses as well; asked here first, the log holds no change that was not made."""
    admins = {
        one.name
        for one in accounts.list(context.database)
        if "admin" in one.roles and not one.disabled
    }
    if admins == {account.name}:
        raise ApiError(409, f"{account.name} is the last administrator: make another one first")


def _shown(account: Account) -> UserOut:
    return UserOut(
        name=account.name,
        roles=sorted(account.roles),
        cameras=None if account.cameras is None else sorted(account.cameras),
        disabled=account.disabled,
        created_ms=account.created_ms,
    )
