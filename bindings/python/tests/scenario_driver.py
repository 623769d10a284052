"""The driver of the scenarios that every language runs: it holds one device, and is told what to do as lines of JSON. The protocol stands in
bindings/scenarios/README.md."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from im_sdk import (
    CertificateSha256,
    Channel,
    Client,
    ClientConfig,
    Connected,
    Disconnected,
    Event,
    ImError,
    Message,
    Position,
    Published,
    PublishFailed,
    Recipient,
    Reset,
    SendHandle,
    SignalReceived,
    Stopped,
    Terminal,
    Timeline,
    TokenDenied,
    TokenRequest,
    Typing,
    UpToDate,
    User,
)

Json = dict[str, Any]


class Driver:
    """One device."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.sends: dict[str, SendHandle] = {}
        self.timelines: dict[str, Timeline] = {}
        self.handed_out: list[Message] = []
        self.messages: dict[str, Message] = {}
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.collecting: asyncio.Task[None] | None = None

    async def _collect(self, client: Client) -> None:
        async for event in client.events():
            self.events.put_nowait(event)

    @property
    def device(self) -> Client:
        """The device, which is open."""
        if self.client is None:
            raise ImError("not_open", "no device is open")
        return self.client

    async def open(self, request: Json) -> Json:
        """Opens the device, with its tokens one after the other."""
        tokens = list(request["tokens"])

        def token(why: TokenRequest) -> str:
            if why.kind == "rejected":
                tokens.pop(0)
            if not tokens:
                raise TokenDenied("there are no more tokens")
            given: str = tokens[0]
            return given

        fingerprint = request.get("trust_sha256")
        config = ClientConfig(
            endpoints=request["endpoints"],
            token=token,
            device_id=request["device"],
            terminal=Terminal.OTHER,
            store_path=request["store"],
            trust=CertificateSha256(fingerprint) if fingerprint else None,
        )
        self.client = Client.open(config)
        # All the time, so that outcomes come whatever the runner asks for.
        self.collecting = asyncio.create_task(self._collect(self.client))
        return {}

    async def connect(self, _: Json) -> Json:
        """Connects."""
        self.device.connect()
        return {}

    async def disconnect(self, _: Json) -> Json:
        """Disconnects."""
        self.device.disconnect()
        return {}

    async def next(self, request: Json) -> Json:
        """The next event."""
        try:
            event = await asyncio.wait_for(self.events.get(), request["within_ms"] / 1000)
        except asyncio.TimeoutError:
            return {"event": None}
        if isinstance(event, Message):
            self.handed_out.append(event)
            self.messages[str(event.id)] = event
            for timeline in self.timelines.values():
                timeline.apply(event)
        return {"event": event_json(event)}

    async def ack(self, request: Json) -> Json:
        """Acknowledges a position."""
        id = request.get("id")
        self.device.ack(Position(request["channel"], request["seq"], None if id is None else int(id)))
        return {}

    async def send(self, request: Json) -> Json:
        """Sends a text."""
        return self._keep(await self.device.send(recipient(request["to"]), request["text"]))

    def _keep(self, sent: SendHandle) -> Json:
        self.sends[str(sent.local_id)] = sent
        return {"local_id": str(sent.local_id)}

    async def outcome(self, request: Json) -> Json:
        """Waits for the outcome of a send."""
        result = await self.sends[request["local_id"]].outcome()
        return {"message_id": None if result.message_id is None else str(result.message_id)}

    async def unsettled(self, _: Json) -> Json:
        """The sends that are not settled."""
        sends = await self.device.unsettled_sends()
        self.sends.update((str(send.handle.local_id), send.handle) for send in sends)
        listed = [
            {"local_id": str(send.handle.local_id), "text": send.content.text, "state": send.state.value} for send in sends
        ]
        return {"sends": listed}

    async def history(self, request: Json) -> Json:
        """The newest page of a conversation."""
        page = await self.device.history(recipient(request["conversation"]), limit=request["limit"])
        self.messages.update((str(message.id), message) for message in page.messages)
        return {"messages": [message_json(message) for message in page.messages]}

    async def react(self, request: Json) -> Json:
        """Reacts to a message."""
        ref = self.messages[request["message"]["id"]].ref(request["me"])
        if ref is None:
            raise ImError("no_position", "the message is in no log")
        return self._keep(await self.device.react(ref, request["emoji"]))

    async def shows(self, request: Json) -> Json:
        """What a timeline shows of a message."""
        me = request["me"]
        if me not in self.timelines:
            self.timelines[me] = Timeline(me)
            for message in self.handed_out:
                self.timelines[me].apply(message)
        shown = self.timelines[me].get(int(request["id"]))
        if shown is None:
            return {"text": None, "reactions": {}}
        reactions = {reaction.emoji: list(reaction.users) for reaction in shown.reactions}
        return {"text": None if shown.content is None else shown.content.text, "reactions": reactions}

    async def typing(self, request: Json) -> Json:
        """Signals that the user is typing."""
        return {"sent": await self.device.signal(recipient(request["to"]), Typing())}

    async def shutdown(self, _: Json) -> Json:
        """Shuts the device down."""
        await self.device.shutdown()
        return {}


def recipient(of: Json) -> Recipient:
    """A user or a channel."""
    return User(of["user"]) if "user" in of else Channel(of["channel"])


def event_json(event: Event) -> Json:
    """An event, as the runner wants it."""
    match event:
        case Connected():
            return {"type": "connected", "user": event.user}
        case Disconnected():
            return {"type": "disconnected", "code": event.code}
        case Message():
            return {"type": "message", "message": message_json(event)}
        case UpToDate():
            return {"type": "up_to_date"}
        case Reset():
            return {"type": "reset", **position_json(event.position), "reason": event.reason.value}
        case Published():
            id = None if event.message_id is None else str(event.message_id)
            return {"type": "published", "local_id": str(event.local_id), "message_id": id}
        case PublishFailed():
            return {"type": "publish_failed", "local_id": str(event.local_id), "code": event.code}
        case Stopped():
            return {"type": "stopped", "code": event.code, "cause": event.cause}
        case SignalReceived(signal=Typing()):
            return {"type": "typing", "from": event.from_user}
    return {"type": "other"}


def position_json(position: Position) -> Json:
    """A place in a log."""
    return {"channel": position.channel, "seq": position.seq, "id": None if position.id is None else str(position.id)}


def message_json(message: Message) -> Json:
    """A message."""
    return {
        "id": str(message.id),
        "from": message.from_user,
        "to": message.to_user,
        "channel": message.channel,
        "local_id": None if message.local_id is None else str(message.local_id),
        "text": message.text,
        "position": None if message.position is None else position_json(message.position),
    }


async def main() -> None:
    """Answers requests until there are none."""
    driver = Driver()
    operations: dict[str, Callable[[Json], Coroutine[Any, Any, Json]]] = {
        name: getattr(driver, name)
        for name in (
            "open connect disconnect next ack send outcome unsettled history react shows typing shutdown".split()
        )
    }
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = json.loads(line)
        try:
            answer = await operations[request["op"]](request)
        except ImError as error:
            answer = {"error": {"code": error.code, "message": error.reason}}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
