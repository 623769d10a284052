"""Measures the package: python3 throughput.py [MESSAGES]

A server, a back end and devices in this process, so the figures are those of Python and the bridge, with the server's work beside it on the same
machine: events/s that a client pulls and acknowledges, sends/s of a client (kept and answered) and of a back end (one by one, and many at
once), calls/s of a handler, and what an idle client takes of memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

from im_sdk import Client, ClientConfig, Message, UpToDate
from im_sdk.backend import Backend, BackendConfig, EmbeddedServer, Handler, OutgoingMessage


def resident_kib() -> int:
    """The memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def device(server: EmbeddedServer, user: str, device_id: str = "d1") -> Client:
    """A connected device."""
    client = Client.open(ClientConfig(endpoints=server.endpoints, token=server.token(user), device_id=device_id))
    client.connect()
    async for event in client.events():
        if isinstance(event, UpToDate):
            break
    return client


async def pulled(server: EmbeddedServer, backend: Backend, count: int) -> float:
    """Events/s of a client that has fallen behind: they wait in its log, and it takes them as fast as it can."""
    client = await device(server, "reader")
    client.disconnect()
    messages = [OutgoingMessage(to="reader", said=f"message {number}", from_user="writer") for number in range(1000)]
    for _ in range(count // 1000):
        await backend.send_many(messages)
    client.connect()
    taken, began, last = 0, 0.0, None
    async for event in client.events():
        if isinstance(event, Message):
            if taken == 0:
                began = time.perf_counter()
            taken += 1
            last = event
            if taken % 256 == 0 or taken == count:
                client.ack(last)
            if taken == count:
                break
    rate = count / (time.perf_counter() - began)
    await client.shutdown()
    return rate


async def bridged(server: EmbeddedServer, backend: Backend, count: int) -> float:
    """Events/s of the bridge alone: batches that wait in the library are taken, converted and handed out, network and server aside."""
    client = await device(server, "bridge")
    spent, taken = 0.0, 0
    messages = [OutgoingMessage(to="bridge", said=f"message {number}", from_user="writer") for number in range(200)]
    while taken < count:
        await backend.send_many(messages)
        # They are pushed at once; let them come into the library's queue.
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        batch = await client.next_events()
        spent += time.perf_counter() - began
        taken += len(batch)
    await client.shutdown()
    return taken / spent


async def each(count: int, at_once: int, job: Callable[[int], Awaitable[object]]) -> float:
    """Runs a job that often, so many at a time, and returns how many a second."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await job(number)

    began = time.perf_counter()
    await asyncio.gather(*[worker() for _ in range(at_once)])
    return count / (time.perf_counter() - began)


async def main(count: int) -> None:
    """Measures everything, and prints it as JSON."""
    config = BackendConfig(user_budgets=False)
    async with await EmbeddedServer.start() as server, await server.connect_backend(config) as backend:
        async with backend.handle(Handler()):
            figures: dict[str, float] = {}
            figures["events/s, pulled from a log and acknowledged"] = await pulled(server, backend, count)
            figures["events/s, of the bridge"] = await bridged(server, backend, min(count, 20_000))
            sender = await device(server, "sender")

            async def drain() -> None:
                while await sender.next_events():
                    pass

            draining = asyncio.create_task(drain())
            few = max(1000, count // 10)
            figures["sends/s of a client, answered, 64 at once"] = await each(
                few, 64, lambda number: sender.send_and_wait(f"user{number % 100}", "hi")
            )
            await sender.shutdown()
            await draining
            figures["sends/s of a back end, one by one"] = await each(
                few, 1, lambda number: backend.send(f"user{number % 100}", "hi", from_user="sender")
            )
            figures["sends/s of a back end, 64 at once"] = await each(
                few, 64, lambda number: backend.send(f"user{number % 100}", "hi", from_user="sender")
            )
            many = [OutgoingMessage(to=f"user{number % 100}", said="hi", from_user="sender") for number in range(1000)]
            figures["sends/s of a back end, 1000 in a call"] = 1000 * await each(few // 1000, 1, lambda _: backend.send_many(many))
            before = resident_kib()
            idle = [await device(server, f"idle{number}") for number in range(100)]
            figures["KiB of an idle client, its server's connection included"] = (resident_kib() - before) / 100
            await asyncio.gather(*[client.shutdown() for client in idle])
            print(json.dumps({name: round(figure, 1) for name, figure in figures.items()}, indent=4))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
