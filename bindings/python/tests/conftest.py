"""What tests share: coroutine functions as tests, a server with a back end, and devices."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from im_sdk import CertificateSha256, Client, ClientConfig, Connected, Event, Message, UpToDate
from im_sdk.backend import Backend, BackendConfig, EmbeddedServer, Handler

PATIENCE = 20.0
"""How many seconds anything may take."""

T = TypeVar("T")
E = TypeVar("E")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs coroutine functions in an event loop of their own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        async with asyncio.timeout(3 * PATIENCE) if hasattr(asyncio, "timeout") else _nothing():
            await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    return True


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


@dataclass
class World:
    """A server with a back end whose handler takes everything, and devices of its users."""

    server: EmbeddedServer
    backend: Backend
    clients: list[Client] = field(default_factory=list)

    def config(self, user: str, **options: Any) -> ClientConfig:
        """The configuration of a device of a user."""
        fingerprint = self.server.certificate_sha256
        defaults: dict[str, Any] = {
            "endpoints": self.server.endpoints,
            "token": self.server.token(user),
            "device_id": uuid.uuid4().hex[:8],
            "trust": CertificateSha256(fingerprint) if fingerprint else None,
        }
        return ClientConfig(**{**defaults, **options})

    def open(self, user: str, **options: Any) -> Client:
        """A device of a user that is not connected yet. It is shut down with the world."""
        client = Client.open(self.config(user, **options))
        self.clients.append(client)
        return client

    async def device(self, user: str, **options: Any) -> Client:
        """A device of a user that is connected and has everything."""
        client = self.open(user, **options)
        client.connect()
        await until(client, UpToDate)
        return client


@asynccontextmanager
async def world(
    handler: Handler | None = None, *, serving: bool = True, config: BackendConfig | None = None, **server: Any
) -> AsyncIterator[World]:
    """Starts a world."""
    async with await EmbeddedServer.start(**server) as started, await started.connect_backend(config) as backend:
        new = World(started, backend)
        try:
            if serving:
                async with backend.handle(handler or Handler()):
                    yield new
                    await asyncio.gather(*[client.shutdown() for client in new.clients])
            else:
                yield new
        finally:
            await asyncio.gather(*[client.shutdown() for client in new.clients])


async def until(client: Client, kind: type[E] | tuple[type[E], ...], wanted: Callable[[E], bool] = lambda _: True) -> E:
    """The next event of a kind that is wanted; those before it are dropped."""

    async def search() -> E:
        async for event in client.events():
            if isinstance(event, kind) and wanted(event):
                return event
        raise AssertionError(f"the client closed before {kind}")

    return await asyncio.wait_for(search(), PATIENCE)


async def message(client: Client, text: str) -> Message:
    """The message with that text."""
    return await until(client, Message, lambda message: message.text == text)


async def eventually(condition: Callable[[], Any]) -> Any:
    """Waits until a condition, or what a coroutine function returns, is true."""

    async def search() -> Any:
        while True:
            found = condition()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)

    return await asyncio.wait_for(search(), PATIENCE)


__all__ = ["Connected", "Event", "PATIENCE", "World", "eventually", "message", "until", "world"]
