#!/usr/bin/env python3
"""A chat with one other user: python3 chat.py ENDPOINT TOKEN USER [FINGERPRINT]. What is typed is sent to USER."""

import asyncio
import atexit
import sys
import time

import im_ffi as im


class OneToken(im.TokenProvider):
    """An application asks its back end here, on a thread that may block."""

    def token(self, why):
        if why.is_rejected():
            raise im.TokenError.Denied(why.reason)  # after Unavailable it is asked again
        return sys.argv[2]


async def show(client):
    """Takes events until the client is closed; it stops reading from the network while nobody does."""
    while events := await client.next_events(100):
        for event in events:
            if event.is_message():
                message, at = event.message, time.ctime(im.message_unix_ms(event.message.id) / 1000)
                print(f"[{at}] {message.from_user or '(the back end)'}: {getattr(message.content.body, 'text', '...')}")
                if message.position:
                    client.ack(message.position)
            elif event.is_reset():
                client.ack(event.position)  # client.history has the messages before it
            elif event.is_disconnected() or event.is_stopped():
                print(f"! {event.reason}")


async def main(endpoint, _token, to, *fingerprint):
    """Sends what is typed, until the input ends."""
    trust = im.Trust.CERTIFICATE_SHA256(fingerprint[0]) if fingerprint else None
    config = im.ClientConfig(endpoints=[endpoint], terminal=im.Terminal.DESKTOP, device_id="chat-py", trust=trust)
    client = im.Client.open(config, OneToken())
    client.connect()
    showing = asyncio.create_task(show(client))
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            await client.send_and_wait(im.Recipient.USER(to), im.text_content(line.strip()))
        except im.PublishError as error:  # a handler's refusal has a reason, too
            print(f"! not sent: {getattr(error, 'reason', error.code())}")
    await client.shutdown()
    await showing


atexit.register(im.shutdown)
asyncio.run(main(*sys.argv[1:]))
