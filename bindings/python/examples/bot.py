"""A bot: python3 bot.py ENDPOINT TOKEN [STORE]. It answers each message to it, once, and reacts to its own name in groups.

The store keeps its place over restarts: what was acknowledged is not answered again, and an answer that was not sent yet still goes out.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from im_sdk import Channel, Client, ClientConfig, Connected, Message, Reset, Stopped, Terminal, Text, log_to

logger = logging.getLogger("bot")


async def answer(client: Client, me: str, message: Message) -> None:
    """Answers one message."""
    if message.from_user in (me, None) or not isinstance(message.content.body, Text):
        return
    text = message.content.body.text
    if message.channel is None:
        await client.send(message.from_user or "", f"You said: {text}")
    elif me in message.content.mentions and (ref := message.ref(me)):
        await client.react(ref, "👋")
        await client.send(Channel(message.channel), f"Hello, {message.from_user}!")


async def run(endpoint: str, token: str, store: str | None = None) -> None:
    """Runs until the client is stopped."""
    config = ClientConfig(
        endpoints=[endpoint], token=token, device_id="bot", terminal=Terminal.OTHER, store_path=store, client_name="bot"
    )
    me = ""
    async with Client.open(config) as client:
        async for event in client.events():
            match event:
                case Connected(user=user):
                    me = user
                    logger.info("%s is connected to %s", me, event.endpoint)
                case Message():
                    await answer(client, me, event)
                    # Behind the answer, which is in the store by now.
                    client.ack(event)
                case Reset():
                    client.ack(event)
                case Stopped():
                    raise SystemExit(f"the bot stopped: {event.reason}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    logging.basicConfig(level=logging.INFO)
    log_to(logging.getLogger("im_sdk"), logging.WARNING)
    try:
        asyncio.run(run(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
