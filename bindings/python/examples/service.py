"""A service with users of its own, on FastAPI: pip install fastapi uvicorn, then uvicorn service:app

It has accounts and friends; friends may write to each other. With REDIS, NATS and SECRET in the environment it stands beside im-server, whose
tokens SECRET signs; without them it starts a server of its own.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel

from im_sdk.backend import (
    Backend,
    BackendConfig,
    EmbeddedServer,
    Handler,
    Logged,
    MayReach,
    ReachKind,
    Refusal,
    TokenMinter,
)


class Users:
    """Accounts and friends. In a product: tables."""

    def __init__(self) -> None:
        self.passwords: dict[str, tuple[bytes, bytes]] = {}
        self.sessions: dict[str, str] = {}
        self.friends: set[frozenset[str]] = set()

    def register(self, name: str, password: str) -> None:
        """Makes an account."""
        if name in self.passwords:
            raise HTTPException(409, "that name is taken")
        salt = secrets.token_bytes(16)
        self.passwords[name] = (salt, _digest(salt, password))

    def log_in(self, name: str, password: str) -> str:
        """Begins a session, and returns its key."""
        salt, digest = self.passwords.get(name, (b"", b""))
        if not secrets.compare_digest(digest, _digest(salt, password)):
            raise HTTPException(401, "wrong name or password")
        key = secrets.token_urlsafe()
        self.sessions[key] = name
        return key


def _digest(salt: bytes, password: str) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt or b"-", n=2**12, r=8, p=1)


class Rules(Handler):
    """Friends may reach each other. Users who are offline would be notified where a message is in its log."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.logged_messages = 0

    async def may_reach(self, reach: MayReach) -> None:
        # What was said stays between the two, also if they are friends no more.
        if reach.kind == ReachKind.CHANGE or frozenset((reach.from_user, reach.to_user)) in self.users.friends:
            reach.grant()
        else:
            raise Refusal("you are not friends", code=1)

    async def logged(self, message: Logged) -> None:
        self.logged_messages += 1


class Service:
    """What the service holds while it runs."""

    def __init__(self, users: Users, backend: Backend, minter: TokenMinter, endpoints: list[str] | None) -> None:
        self.users, self.backend, self.minter, self._endpoints = users, backend, minter, endpoints

    async def endpoints(self) -> list[str]:
        """Where devices connect to."""
        if self._endpoints is not None:
            return self._endpoints
        return [address for server in await self.backend.endpoints() for address in server.addresses]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connects, serves what devices publish, and ends in order."""
    users = Users()
    async with AsyncExitStack() as stack:
        endpoints: list[str] | None = None
        if "REDIS" in os.environ:
            minter = TokenMinter.hs256("k1", os.environ["SECRET"].encode(), "service", "im")
            config = BackendConfig(redis=[os.environ["REDIS"]], nats=[os.environ["NATS"]], service_name="service")
            backend = await Backend.connect(config)
        else:
            server = await stack.enter_async_context(await EmbeddedServer.start())
            backend, minter, endpoints = await server.connect_backend(), server.minter, server.endpoints
        await stack.enter_async_context(backend)
        await stack.enter_async_context(backend.handle(Rules(users)))
        app.state.service = Service(users, backend, minter, endpoints)
        yield


app = FastAPI(lifespan=lifespan)


def service() -> Service:
    """The service, for the routes."""
    found: Service = app.state.service
    return found


Here = Annotated[Service, Depends(service)]
Session = Annotated[str, Header(alias="session")]


def current_user(session: Session, here: Here) -> str:
    """The user of the session."""
    user = here.users.sessions.get(session)
    if user is None:
        raise HTTPException(401, "log in first")
    return user


Me = Annotated[str, Depends(current_user)]


class Account(BaseModel):
    """A name and a password."""

    name: str
    password: str


class Login(BaseModel):
    """A session, and how a device connects."""

    session: str
    token: str
    endpoints: list[str]


@app.post("/accounts", status_code=201)
async def register(account: Account, here: Here) -> None:
    """Makes an account."""
    here.users.register(account.name, account.password)


@app.post("/login")
async def log_in(account: Account, here: Here) -> Login:
    """Logs in."""
    session = here.users.log_in(account.name, account.password)
    token = here.minter.mint(account.name, 3600)
    return Login(session=session, token=token, endpoints=await here.endpoints())


@app.post("/friends/{name}", status_code=204)
async def befriend(name: str, me: Me, here: Here) -> None:
    """Makes two users friends, and tells both."""
    if name not in here.users.passwords:
        raise HTTPException(404, "there is no such user")
    here.users.friends.add(frozenset((me, name)))
    await here.backend.send([me, name], f"{me} and {name} are friends now")


@app.get("/unread")
async def unread(me: Me, here: Here) -> int:
    """How many messages wait, for a badge."""
    return (await here.backend.unread(me)).count


@app.post("/logout", status_code=204)
async def log_out(session: Session, me: Me, here: Here) -> None:
    """Ends the session, and the connections of the user."""
    del here.users.sessions[session]
    await here.backend.kick(me, None, "logged out")
