"""The back-end half against Redis, NATS and im-server, as in production."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import message, until

from im_sdk import BackendError, Client, ClientConfig, UpToDate
from im_sdk.backend import Backend, BackendConfig, Handler, TokenMinter

SECRET = b"a secret of at least thirty-two bytes"
IM_SERVER = Path(os.environ.get("IM_SERVER", Path(__file__).parents[3] / "target/debug/im-server"))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def program(arguments: list[str], port: int, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on a port, for as long as the block lasts."""
    with log.open("wb") as output:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("IM_")}
        child = subprocess.Popen(arguments, stdout=output, stderr=output, env={**environ, **environment})
        try:
            deadline = time.monotonic() + 20
            while True:
                assert child.poll() is None, f"{arguments[0]} ended:\n{log.read_text()}"
                assert time.monotonic() < deadline, f"{arguments[0]} does not listen:\n{log.read_text()}"
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            yield child
        finally:
            child.kill()
            child.wait()


def found(name: str, *beside: str) -> str:
    """The path of a program."""
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", *beside]))
    assert path, f"{name} is missing: tests/run.sh installs it"
    return path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[BackendConfig, str]]:
    """Redis, NATS and a server: the configuration of a back end, and the server's endpoint."""
    redis, nats, websocket = free_port(), free_port(), free_port()
    assert IM_SERVER.exists(), f"{IM_SERVER} is missing: `cargo build --workspace --bins` makes it"
    with ExitStack() as stack:
        redis_arguments = [found("redis-server"), "--port", str(redis), "--save", "", "--dir", str(tmp_path)]
        stack.enter_context(program([*redis_arguments, "--bind", "127.0.0.1"], redis, tmp_path / "redis.log"))
        nats_arguments = [found("nats-server"), "-a", "127.0.0.1", "-p", str(nats)]
        stack.enter_context(program(nats_arguments, nats, tmp_path / "nats.log"))
        variables = {
            "IM_SERVER_NAME": "im1",
            "IM_CLUSTER_REDIS": f"redis://127.0.0.1:{redis}",
            "IM_CLUSTER_NATS": f"nats://127.0.0.1:{nats}",
            "IM_WEBSOCKET_LISTEN": f"127.0.0.1:{websocket}",
            "IM_AUTH_ISSUER": "shop",
            "IM_AUTH_AUDIENCE": "im",
            "IM_AUTH_HS256_KEY_ID": "k1",
            "IM_AUTH_HS256_SECRET": SECRET.decode(),
        }
        stack.enter_context(program([str(IM_SERVER)], websocket, tmp_path / "server.log", **variables))
        config = BackendConfig(redis=[variables["IM_CLUSTER_REDIS"]], nats=[variables["IM_CLUSTER_NATS"]])
        yield config, f"ws://127.0.0.1:{websocket}"


async def test_a_back_end_serves_devices_of_a_deployment(cluster: tuple[BackendConfig, str]) -> None:
    config, endpoint = cluster
    minter = TokenMinter.hs256("k1", SECRET, "shop", "im")

    def open_device(user: str) -> Client:
        return Client.open(ClientConfig(endpoints=[endpoint], token=minter.mint(user, 60), device_id="d1"))

    async with await Backend.connect(config) as backend, backend.handle(Handler()):
        async with open_device("alice") as alice, open_device("bob") as bob:
            await until(alice, UpToDate)
            await until(bob, UpToDate)
            await alice.send_and_wait("bob", "hi")
            assert (await message(bob, "hi")).from_user == "alice"
            receipt = await backend.send("bob", "welcome")
            assert [device.user for device in receipt.delivery.pushed] == ["bob"]
            await message(bob, "welcome")
            assert await backend.kick("alice", None, "bye") == 1
            health = await backend.health()
            assert health.ready and len(health.servers) == 1


async def test_what_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(BackendError) as unreachable:
        await Backend.connect(BackendConfig(redis=["redis://127.0.0.1:9"], nats=["nats://127.0.0.1:9"]))
    assert (unreachable.value.code, unreachable.value.retryable) == ("unavailable", True)
