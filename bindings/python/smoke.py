#!/usr/bin/env python3
"""Two devices connect, one publishes to the other, they read, list and change messages, and both close. Exits with 1 and
says why if anything goes wrong.

    python3 bindings/python/smoke.py MODULE_DIR \\
        --endpoint quic://127.0.0.1:7801 --endpoint ws://127.0.0.1:7800 --trust-sha256 HEX \\
        --from-user alice --from-token TOKEN --to-user bob --to-token TOKEN

MODULE_DIR holds the generated im_ffi.py and, beside it, the library (libim_ffi.so, libim_ffi.dylib or im_ffi.dll).
Every option can come from the environment instead: SMOKE_ENDPOINTS (separated by commas), SMOKE_TRUST_SHA256,
SMOKE_FROM_USER, SMOKE_FROM_TOKEN, SMOKE_TO_USER, SMOKE_TO_TOKEN, SMOKE_CHANNEL: a group of both users, without which
nothing is done in a group. With --offline it opens and closes a client and needs no server.
"""

import argparse
import asyncio
import atexit
import os
import sys
import time
import uuid

import smoke_conversations
import smoke_tokens
from smoke_conversations import Failure


def parse_arguments():
    """The command line, with the environment behind it."""
    env = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module_dir")
    parser.add_argument("--endpoint", action="append", dest="endpoints")
    parser.add_argument("--trust-sha256", default=env("SMOKE_TRUST_SHA256"))
    parser.add_argument("--from-user", default=env("SMOKE_FROM_USER", "alice"))
    parser.add_argument("--from-token", default=env("SMOKE_FROM_TOKEN"))
    parser.add_argument("--to-user", default=env("SMOKE_TO_USER", "bob"))
    parser.add_argument("--to-token", default=env("SMOKE_TO_TOKEN"))
    parser.add_argument("--channel", default=env("SMOKE_CHANNEL"))
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds that each step may take")
    parser.add_argument("--offline", action="store_true")
    arguments = parser.parse_args()
    arguments.endpoints = arguments.endpoints or env("SMOKE_ENDPOINTS", "").split(",")
    if not arguments.offline and not (arguments.from_token and arguments.to_token and arguments.endpoints[0]):
        parser.error("endpoints and both tokens are needed, unless --offline")
    return arguments


def import_bindings(module_dir):
    """The generated module, which loads the library."""
    sys.path.insert(0, os.path.abspath(module_dir))
    try:
        import im_ffi  # pylint: disable=import-error,import-outside-toplevel
    except (ImportError, OSError) as error:
        raise Failure(f"the generated module cannot be imported from {module_dir}: {error}") from error
    return im_ffi


def open_client(im, arguments, token, device):
    """A client that is not connected yet. The token may also be a provider."""

    class OneToken(im.TokenProvider):
        """Gives the same token until a server refuses it."""

        def token(self, why):
            if why.is_rejected():
                raise im.TokenError.Denied(f"the server refused the token: {why.reason}")
            return token

    trust = im.Trust.CERTIFICATE_SHA256(arguments.trust_sha256) if arguments.trust_sha256 else None
    config = im.ClientConfig(
        endpoints=arguments.endpoints, terminal=im.Terminal.DESKTOP, device_id=device, trust=trust
    )
    return im.Client.open(config, OneToken() if isinstance(token, str) else token)


async def wait_for(client, wanted, what, timeout):
    """The first event that `wanted` makes something of."""

    async def search():
        # One at a time: what comes behind it is for who waits next.
        while events := await client.next_events(1):
            for event in events:
                if event.is_stopped():
                    raise Failure(f"{what}: the client stopped: {event.reason} ({event.code})")
                if event.is_disconnected():
                    print(f"  not connected: {event.reason}")
                if (found := wanted(event)) is not None:
                    return found
        raise Failure(f"{what}: the client closed")

    try:
        return await asyncio.wait_for(search(), timeout)
    except asyncio.TimeoutError:
        raise Failure(f"{what}: nothing within {timeout} s") from None


async def connect(client, user, timeout):
    """Connects and checks which user the server says it is."""
    client.connect()

    def wanted(event):
        """The event itself, which says who the server thinks we are."""
        return event if event.is_connected() else None

    connected = await wait_for(client, wanted, f"connecting as {user}", timeout)
    if connected.user != user:
        raise Failure(f"the server calls {user} {connected.user}")
    print(f"  {user} is connected to {connected.endpoint}")


async def exchange(im, arguments):
    """One message from one device to the other."""
    run = uuid.uuid4().hex[:12]
    tokens = smoke_tokens.stumbling(im, arguments.from_token)
    sender = open_client(im, arguments, tokens, f"smoke-from-{run}")
    receiver = open_client(im, arguments, arguments.to_token, f"smoke-to-{run}")
    try:
        await smoke_tokens.stumbles(sender, tokens, arguments.from_user, arguments.timeout)
        await connect(receiver, arguments.to_user, arguments.timeout)
        text = f"hello from Python {run}"
        published = await sender.send_and_wait(im.Recipient.USER(arguments.to_user), im.text_content(text))
        print(f"  published as {published.message_id}")

        def wanted(event):
            """The message, passing over others that the user may get."""
            return event.message if event.is_message() and event.message.content == im.text_content(text) else None

        message = await wait_for(receiver, wanted, "receiving the message", arguments.timeout)
        if message.from_user != arguments.from_user or message.id != published.message_id:
            raise Failure(f"the message is not what was sent: {message}")
        print(f"  received {message.id} from {message.from_user}")
        if abs(im.message_unix_ms(message.id) / 1000 - time.time()) > 3600:
            raise Failure(f"message {message.id} is of another time: {im.message_unix_ms(message.id)}")
        # By default those hear it who have written to whoever is typing.
        if not await receiver.signal(im.Recipient.USER(arguments.from_user), im.Signal.TYPING(stopped=False)):
            raise Failure("a signal goes nowhere")
        signal = await wait_for(
            sender, lambda event: event.signal if event.is_signal() else None, "typing", arguments.timeout
        )
        if signal.from_user != arguments.to_user or signal.signal != im.Signal.TYPING(stopped=False):
            raise Failure(f"the signal is not what was sent: {signal}")
        print(f"  {signal.from_user} is typing on {signal.device}")
        conversation = im.Conversation.USER(arguments.from_user)
        page = await receiver.history(conversation, im.HistoryRange.NEWEST(), 1)
        if [entry.id for entry in page.messages] != [message.id]:
            raise Failure(f"the history is not what was received: {page}")
        print(f"  and found {message.id} in the history")
        await change(im, arguments, receiver, message)
        two = smoke_conversations.Two(im, arguments, sender, receiver, wait_for)
        await smoke_conversations.all_of_it(two, run)
    finally:
        await asyncio.gather(sender.shutdown(), receiver.shutdown())
    # What had come and was not asked for, such as the result of the reaction, can still be taken.
    while await asyncio.wait_for(receiver.next_events(100), arguments.timeout):
        pass
    if sender.state() != im.State.CLOSED or receiver.state() != im.State.CLOSED:
        raise Failure("the clients are not closed")


async def change(im, arguments, client, message):
    """Reacts to a message, and sees the reaction on it."""
    timeline = im.Timeline(arguments.to_user)
    timeline.apply(message)
    reference = im.message_ref(message, arguments.to_user)
    reaction = await client.change(reference, im.ChangeKind.REACTION(emoji="👍", removed=False))

    def wanted(event):
        """What the message looks like, once it looks different."""
        changed = event.is_message() and timeline.apply(event.message) == message.id
        return timeline.get(message.id) if changed else None

    shown = await wait_for(client, wanted, "reacting to the message", arguments.timeout)
    if shown.reactions != [im.Reaction(emoji="👍", users=[arguments.to_user])]:
        raise Failure(f"the reaction is not on the message: {shown}")
    if (await asyncio.wait_for(reaction.outcome(), arguments.timeout)).message_id is None:
        raise Failure("the reaction has no message id")
    print(f"  reacted to {message.id}")


async def offline(im, arguments):
    """What can be seen without a server."""
    arguments.endpoints = ["ws://127.0.0.1:9"]
    client = open_client(im, arguments, "token", "smoke")
    if client.state() != im.State.DISCONNECTED or client.transport() is not None:
        raise Failure(f"a new client is {client.state()}")
    sent = await client.send(im.Recipient.USER("bob"), im.text_content("hi"))
    unsettled = await client.unsettled_sends()
    if [send.handle.local_id() for send in unsettled] != [sent.local_id()]:
        raise Failure(f"a send that waits is not listed: {unsettled}")
    await expect_code("not_failed", sent.retry(), im.SendError)
    if not await sent.discard() or await client.unsettled_sends() != []:
        raise Failure("a send that waits cannot be discarded")
    await expect_code("discarded", sent.outcome(), im.PublishError)
    await client.shutdown()
    if client.state() != im.State.CLOSED or await client.next_events(1) != []:
        raise Failure("the client is not closed")
    await expect_code("closed", client.send_and_wait(im.Recipient.USER("bob"), im.text_content("hi")), im.PublishError)
    inbox, newest = im.Conversation.INBOX(), im.HistoryRange.NEWEST()
    await expect_code("closed", client.history(inbox, newest, 1), im.RequestError)
    arguments.endpoints = ["http://127.0.0.1"]
    try:
        open_client(im, arguments, "token", "smoke")
    except im.OpenError.InvalidConfig as error:
        if error.code() != "invalid_config":
            raise Failure(f"a wrong endpoint gives {error.code()}") from error
    else:
        raise Failure("a wrong endpoint was taken")
    arguments.endpoints = []
    try:
        open_client(im, arguments, "token", "smoke")
    except im.OpenError.NoEndpoints as error:
        if "endpoint" not in str(error):
            raise Failure(f"no endpoints gives {error!r}") from error
    else:
        raise Failure("no endpoints were taken")
    await smoke_tokens.offline(im, arguments.timeout)


async def expect_code(code, attempt, kind):
    """Checks that something fails in the right way."""
    try:
        result = await attempt
    except kind as error:
        if error.code() != code:
            raise Failure(f"expected {code}, not {error.code()}") from error
        if not error.reason or error.reason not in str(error):
            raise Failure(f"{code} does not say what is wrong: {error!r}") from error
    else:
        raise Failure(f"expected {code}, not {result}")


def main():
    """Returns the exit code."""
    arguments = parse_arguments()
    try:
        im = import_bindings(arguments.module_dir)
        # The library's threads report back to Python: they must be gone before it is.
        atexit.register(im.shutdown)
        asyncio.run(offline(im, arguments) if arguments.offline else exchange(im, arguments))
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    except Exception as error:  # pylint: disable=broad-exception-caught
        print(f"FAILED: {type(error).__name__}: {error!r}", file=sys.stderr)
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
