"""The program in the README, and the examples."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import PATIENCE, message, until, world

from im_sdk import (
    Change,
    Channel,
    Client,
    ClientConfig,
    Content,
    Message,
    PublishError,
    Reaction,
    Text,
    UpToDate,
)

ROOT = Path(__file__).parents[1]


def test_the_program_of_the_readme_runs() -> None:
    (program,) = re.findall(r"```python\n(import asyncio\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "bob has: lunch? (from alice)",
        "bob has: welcome (from the back end)",
        "alice is told: no spam, please (7)",
    ]


async def test_the_bot_answers_once_also_over_restarts(tmp_path: Path) -> None:
    async with world() as here:
        alice = await here.device("alice")
        await here.backend.channel("team").add_members("alice", "bot")
        arguments = [here.server.endpoints[0], here.server.token("bot"), str(tmp_path / "bot.db")]

        async def start() -> asyncio.subprocess.Process:
            command = [sys.executable, str(ROOT / "examples/bot.py"), *arguments]
            bot = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            assert bot.stderr is not None
            while b"is connected" not in await asyncio.wait_for(bot.stderr.readline(), PATIENCE):
                pass
            return bot

        bot = await start()
        try:
            await alice.send_and_wait("bot", "one")
            await message(alice, "You said: one")
            await alice.send_and_wait(Channel("team"), Content(Text("hi"), mentions=["bot"]))
            reaction = await until(alice, Message, lambda came: isinstance(came.content.body, Change))
            assert isinstance(reaction.content.body, Change)
            assert reaction.content.body.kind == Reaction("👋")
            await message(alice, "Hello, alice!")
            bot.kill()
            await bot.wait()
            # While nobody is there.
            await alice.send_and_wait("bot", "two")
            bot = await start()
            assert (await until(alice, Message, lambda came: came.from_user == "bot")).text == "You said: two"
        finally:
            if bot.returncode is None:
                bot.kill()
                await bot.wait()


async def test_the_service_has_users_of_its_own() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service:app", "--host", "127.0.0.1", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT / "examples", stderr=asyncio.subprocess.PIPE)
    try:
        assert process.stderr is not None
        while b"Uvicorn running" not in (line := await asyncio.wait_for(process.stderr.readline(), PATIENCE)):
            assert line, "the service ended"
        draining = asyncio.create_task(_drain(process.stderr))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            logins = {}
            for name in ("alice", "bob", "eve"):
                account = {"name": name, "password": f"{name}'s password"}
                assert (await http.post("/accounts", json=account)).status_code == 201
                assert (await http.post("/login", json={**account, "password": "wrong"})).status_code == 401
                logins[name] = (await http.post("/login", json=account)).json()

            def device(name: str) -> Client:
                login = logins[name]
                config = ClientConfig(endpoints=login["endpoints"], token=login["token"], device_id="d1")
                return Client.open(config)

            def session(name: str) -> dict[str, str]:
                return {"session": logins[name]["session"]}

            async with device("alice") as alice, device("bob") as bob, device("eve") as eve:
                for client in (alice, bob, eve):
                    await until(client, UpToDate)
                with pytest.raises(PublishError, match="not friends"):
                    await alice.send_and_wait("bob", "hi")
                assert (await http.post("/friends/bob", headers=session("alice"))).status_code == 204
                assert (await http.post("/friends/nobody", headers=session("alice"))).status_code == 404
                assert (await http.post("/friends/bob", headers={"session": "none"})).status_code == 401
                await message(bob, "alice and bob are friends now")
                await alice.send_and_wait("bob", "hi")
                assert (await message(bob, "hi")).from_user == "alice"
                with pytest.raises(PublishError, match="not friends"):
                    await eve.send_and_wait("bob", "hi")
                assert (await http.get("/unread", headers=session("bob"))).json() == 1
                assert (await http.post("/logout", headers=session("bob"))).status_code == 204
                assert (await http.get("/unread", headers=session("bob"))).status_code == 401
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)
        await draining
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
