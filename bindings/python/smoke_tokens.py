"""What smoke.py does with token providers that have no token to give."""

import asyncio

from smoke_conversations import check


def provider(im, answers):
    """A provider that answers with these, one after the other: exceptions are raised. The last one stays."""

    class Answering(im.TokenProvider):
        """Remembers why it was asked."""

        def __init__(self):
            self.asked = []

        def token(self, why):
            answer = answers[min(len(self.asked), len(answers) - 1)]
            self.asked.append(why)
            if isinstance(answer, Exception):
                raise answer
            return answer

    return Answering()


def stumbling(im, token):
    """One that has a token for whoever asks a third time."""
    return provider(im, [im.TokenError.Unavailable("try again"), ValueError("a bug"), token])


async def stumbles(client, tokens, user, timeout):
    """Connects, and sees that the client goes on asking until it is given something."""
    client.connect()
    for part in ["try again", "a bug"]:
        event = await one(client, timeout)
        check(event.is_disconnected() and event.code is None, f"not asked again after {part!r}: {event}")
        check(part in event.reason, f"{part!r} is not the reason: {event.reason}")
        check(event.retry_in_ms is not None, "it does not say when it asks again")
    event = await one(client, timeout)
    check(event.is_connected() and event.user == user, f"not connected with the third answer: {event}")
    check(len(tokens.asked) == 3 and all(why.is_first() for why in tokens.asked), f"asked {tokens.asked}")
    print(f"  {user} is connected to {event.endpoint}, with the third answer of its provider")


async def one(client, timeout):
    """The next event."""
    events = await asyncio.wait_for(client.next_events(1), timeout)
    check(events != [], "the client closed")
    return events[0]


async def offline(im, timeout):
    """What is seen without a server: who refuses stops the client, everything else is asked again."""
    cases = [
        (im.TokenError.Denied("logged out"), "logged out", im.State.STOPPED),
        (im.TokenError.Unavailable("no network"), "no network", im.State.WAITING),
        (ValueError("a bug"), "a bug", im.State.WAITING),
        (7, "", im.State.WAITING),
    ]
    for answer, part, state in cases:
        tokens = provider(im, [answer])
        config = im.ClientConfig(endpoints=["ws://127.0.0.1:9"], terminal=im.Terminal.DESKTOP, device_id="smoke")
        client = im.Client.open(config, tokens)
        client.connect()
        event = await one(client, timeout)
        check(event.is_stopped() == (state == im.State.STOPPED), f"{answer!r} gives {event}")
        check(event.code is None and part in event.reason, f"{answer!r} gives {event.reason!r} ({event.code})")
        if state == im.State.STOPPED:
            check(client.state() == state, f"after {answer!r} it is {client.state()}")
        else:
            event = await one(client, timeout)
            check(event.is_disconnected() and len(tokens.asked) >= 2, f"{answer!r} is not asked for again: {event}")
        await client.shutdown()
        if state == im.State.STOPPED:
            check(len(tokens.asked) == 1, f"who refused was asked {len(tokens.asked)} times")
