"""The back-end API: sends messages to users, and serves what their devices publish.

::

    async with await Backend.connect(BackendConfig(redis=["redis://127.0.0.1"], nats=["nats://127.0.0.1"])) as backend:
        await backend.send("bob", "your order is on its way", from_user="shop")
        async with await backend.serve() as service:
            async for incoming in service:
                incoming.accept()

Coroutines that are cancelled are not waited for any more, and what they have begun is done all the same, once.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Union

from . import _bridge as bridge
from . import types as t
from ._bridge import call, call_sync, call_whole, native, to_native, to_python
from .content import Body, ChangeKind, Content
from .errors import BackendError

__all__ = [
    "AckOutcome",
    "AckReport",
    "Acked",
    "Backend",
    "BackendConfig",
    "BroadcastReceipt",
    "Call",
    "ChangeRequest",
    "ChannelAdmin",
    "ChannelReceipt",
    "Conversation",
    "ConversationPage",
    "Delivery",
    "DeviceAckState",
    "DeviceState",
    "Durability",
    "EmbeddedServer",
    "FoundPage",
    "Handler",
    "Health",
    "InboxPlace",
    "IncomingSignal",
    "JoinRoom",
    "LogPlace",
    "Logged",
    "LoggedMessage",
    "LoggedPage",
    "Marked",
    "MayReach",
    "MayRequest",
    "MayWatch",
    "OnlineDevice",
    "OutgoingMessage",
    "PresenceEvent",
    "Priority",
    "Publish",
    "ReachKind",
    "Receipt",
    "Refusal",
    "RequestedHistory",
    "RequestedMark",
    "RequestedReaders",
    "RequestedWatch",
    "RoomAdmin",
    "ServerAddresses",
    "Service",
    "ServiceCalls",
    "TokenMinter",
    "UnreadTotal",
    "UserDevice",
    "random_secret",
]

logger = logging.getLogger("im_sdk.backend")


class Durability(enum.Enum):
    """The durability of a message."""

    TRANSIENT = "transient"
    """Not stored: a device that is not connected does not get it."""
    LOGGED = "logged"
    """Stored in the logs of its recipients before the send completes."""
    ARCHIVED = "archived"
    """Logged, and queued for the message store."""


class Priority(enum.Enum):
    """The treatment of a transient message for a device that reads too slowly."""

    DISCONNECT_SLOW = "disconnect_slow"
    """The device is disconnected, and syncs when it reconnects."""
    NORMAL = "normal"
    """The message is dropped for devices whose queue is more than half full."""
    LOW = "low"
    """The message is dropped for devices whose queue is more than an eighth full."""


class DeviceState(enum.Enum):
    """The delivery state of a message at one device."""

    ACKED = "acked"
    PUSHED = "pushed"
    UNCONFIRMED = "unconfirmed"
    OFFLINE = "offline"


class AckOutcome(enum.Enum):
    """The delivery state of a message across all devices."""

    ACKED = "acked"
    """Every connected device has acknowledged the message, and at least one device has."""
    OFFLINE = "offline"
    TIMED_OUT = "timed_out"


class ReachKind(enum.Enum):
    """The way in which a user would reach another."""

    MESSAGE = "message"
    CHANGE = "change"
    SIGNAL = "signal"
    RECEIPT = "receipt"
    """By seeing the other user's read mark."""
    PRESENCE = "presence"
    """By seeing the other user's presence."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """Configuration of a back end."""

    redis: Sequence[str] = ()
    """URLs of Redis. Not needed with an embedded server."""
    nats: Sequence[str] = ()
    """URLs of NATS. Not needed with an embedded server."""
    routes_redis: Sequence[str] = ()
    """URLs of a separate Redis for routes."""
    prefix: str | None = None
    """The prefix of all keys and subjects. It must be the same at the servers."""
    min_replicas: int | None = None
    """The number of Redis replicas that must have a message before it counts as logged."""
    message_store: str | None = None
    """The database that archives messages: ``postgres://..`` or ``sqlite://..``."""
    default_durability: Durability | None = None
    """The default durability of messages. None: archived with a message store, else logged."""
    system_user: str | None = None
    """The sender of messages to users that the back end sends without naming one."""
    service_name: str | None = None
    """The name of the service, shown to operators."""
    handler_timeout: float | None = None
    """The time limit for the answer to a call of the service, in seconds. None: 10."""
    handler_concurrency: int | None = None
    """The maximum number of concurrent calls. None: 1024."""
    send_timeout: float | None = None
    """The time that a send waits for the servers' answers, in seconds. None: 5."""
    recall_within: float | None = None
    """The time during which the sender may recall a message, in seconds; 0 means never. None: 120."""
    edit_within: float | None = None
    """The time during which the sender may edit a message, in seconds; 0 means never. None: a day."""
    user_budgets: bool = True
    """Enables rate limits per user. Turn it off for load tests."""

    def _native(self) -> Any:
        return native.BackendConfig(
            redis=list(self.redis),
            nats=list(self.nats),
            routes_redis=list(self.routes_redis),
            prefix=self.prefix,
            min_replicas=self.min_replicas,
            message_store=self.message_store,
            default_durability=to_native(self.default_durability),
            system_user=self.system_user,
            service_name=self.service_name,
            handler_timeout_ms=bridge.optional_milliseconds(self.handler_timeout),
            handler_concurrency=self.handler_concurrency,
            send_timeout_ms=bridge.optional_milliseconds(self.send_timeout),
            recall_within_ms=bridge.optional_milliseconds(self.recall_within),
            edit_within_ms=bridge.optional_milliseconds(self.edit_within),
            user_budgets=self.user_budgets,
        )


Receivers = Union[str, Sequence[str], t.User, t.Channel]
"""One user, several users, or a channel."""


def _target(to: Receivers | None) -> Any:
    if to is None:
        return None
    if isinstance(to, t.Channel):
        return native.Target.CHANNEL(channel=to.channel)
    if isinstance(to, t.User):
        to = to.user
    return native.Target.USERS(users=[to] if isinstance(to, str) else list(to))


@dataclass(frozen=True, kw_only=True)
class OutgoingMessage:
    """A message to be sent."""

    to: Receivers | None
    """The recipients. None: implied by the call that sends the message, such as :meth:`RoomAdmin.send`."""
    said: str | Content | Body
    """The content; a plain string is a text."""
    from_user: str | None = None
    """The sender. None: the back end itself."""
    durability: Durability | None = None
    """The durability. None: the configured default."""
    priority: Priority | None = None
    """The treatment of a transient message for a slow device."""
    terminals: Sequence[t.Terminal] = ()
    """Restricts a transient message to users' devices of these kinds. Empty: all kinds."""
    idempotency_key: str | None = None
    """An idempotency key. A second send with it sends nothing, and returns the id and the positions of the first."""

    def _native(self) -> Any:
        return native.OutgoingMessage(
            to=_target(self.to),
            content=bridge.as_content(self.said),
            from_user=self.from_user,
            durability=to_native(self.durability),
            priority=to_native(self.priority),
            terminals=to_native(list(self.terminals)),
            idempotency_key=self.idempotency_key,
        )


@dataclass(frozen=True, slots=True)
class UserDevice:
    """A device and its user."""

    user: str
    device: str
    """The device, such as ``ios/4f1c``."""


@dataclass(frozen=True, slots=True)
class InboxPlace:
    """The position of a message in a user's inbox."""

    user: str
    seq: int


@dataclass(frozen=True, slots=True)
class ChannelReceipt:
    """The result of a send to a channel."""

    channel: str
    seq: int
    """The position in the channel's log; 0 if it is in no log."""
    pushed: Sequence[str]
    """Servers that have queued it for the members connected to them."""
    unconfirmed: Sequence[str]
    """Servers that did not answer in time."""
    connections: int
    """The number of connections that have it queued."""
    shed: int
    """The number of connections for which it was dropped, because of its priority."""
    unlocated: bool
    """The servers of the members could not be looked up. Connected members get the message with their next sync."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of a send, per device and user."""

    message_id: int
    durability: Durability
    channel: ChannelReceipt | None
    logged: Sequence[InboxPlace]
    repeated: bool
    """The message was sent before, with the same idempotency key."""
    pushed: Sequence[UserDevice]
    """Devices whose server has queued it."""
    offline: Sequence[str]
    """Users without a connected device."""
    unconfirmed: Sequence[UserDevice]
    """Devices whose server did not answer in time."""
    unlocated: Sequence[str]
    """Users whose connected devices could not be looked up."""


@dataclass(frozen=True, slots=True)
class DeviceAckState:
    """A device and the delivery state of a message there."""

    user: str
    device: str
    state: DeviceState


@dataclass(frozen=True, slots=True)
class AckReport:
    """Acknowledgements of recipients' devices."""

    outcome: AckOutcome
    devices: Sequence[DeviceAckState]
    offline: Sequence[str]
    unlocated: Sequence[str]


@dataclass(frozen=True, slots=True)
class BroadcastReceipt:
    """The result of a broadcast."""

    message_id: int
    connections: int
    servers: Sequence[str]
    refused: Sequence[str]
    unconfirmed: Sequence[str]


class Receipt:
    """The receipt of a send."""

    __slots__ = ("_native", "message_id")

    message_id: int
    """The id assigned to the message."""

    def __init__(self, generated: Any) -> None:
        self._native = generated
        self.message_id = generated.message_id()

    @property
    def delivery(self) -> Delivery:
        """The result of the send, per device and user."""
        delivery: Delivery = to_python(self._native.delivery())
        return delivery

    def __repr__(self) -> str:
        return f"Receipt(message_id={self.message_id})"


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """A message in a log."""

    id: int
    seq: int
    channel: str | None
    """The channel whose log it is in. None: the user's inbox."""
    from_user: str | None
    """The sender. None: the back end itself."""
    to_user: str | None
    content: Content

    @property
    def text(self) -> str | None:
        """The text, if the content is a plain text."""
        return self.content.text


@dataclass(frozen=True, slots=True)
class LoggedPage:
    """A page of history."""

    messages: Sequence[LoggedMessage]
    changes: Sequence[LoggedMessage]
    """Reactions to these messages, and pins of them."""
    next: t.HistoryRange | None
    """The start of the next page. None: this is the last one."""


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Results of a search, newest first."""

    messages: Sequence[LoggedMessage]
    next: t.SearchPlace | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of a user."""

    state: t.ConversationState
    last: LoggedMessage | None
    last_edit: int | None
    last_recalled: t.Recalled | None
    unread: int
    unread_more: bool
    mentions: int
    """The number of unread messages that mention the user."""


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """A page of a user's conversations."""

    conversations: Sequence[Conversation]
    more: bool
    unread: int
    unread_more: bool


@dataclass(frozen=True, slots=True)
class UnreadTotal:
    """Unread messages of a user."""

    count: int
    conversations: int
    more: bool


@dataclass(frozen=True, slots=True)
class OnlineDevice:
    """A connected device."""

    device: str
    server: str


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """The addresses of a server."""

    server: str
    addresses: Sequence[str]
    connections: int


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a back end's dependencies."""

    ready: bool
    redis_error: str | None
    nats_error: str | None
    servers: Sequence[str]
    services: Sequence[str]


@dataclass(frozen=True, slots=True)
class LogPlace:
    """The position of a message in a log."""

    user: str | None
    """The user whose inbox it is."""
    channel: str | None
    """The channel whose log it is."""
    seq: int


# Calls of a service.


class Refusal(Exception):
    """Raised by a method of a :class:`Handler` to refuse a call."""

    def __init__(self, reason: str, code: int = 0, *, retry_after: float | None = None) -> None:
        """Creates a refusal. ``reason`` is shown to the user, and ``code`` is the application's own, 0 or more. With ``retry_after``
        the refusal is temporary: devices ask again after that many seconds."""
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.retry_after = retry_after


@dataclass(slots=True)
class _Call:
    _reply: Any = field(repr=False, compare=False)
    answered: bool = field(default=False, init=False, compare=False)
    """The call was answered. A call that is dropped without an answer is refused temporarily."""

    def _answer(self, decision: Any) -> bool:
        self.answered = True
        in_time: bool = self._reply.answer(decision)
        return in_time


@dataclass(slots=True)
class _Refusable(_Call):
    def refuse(self, reason: str, code: int = 0, *, retry_after: float | None = None) -> bool:
        """Refuses, with a reason for the user. With ``retry_after`` the device retries after that many seconds.

        Returns False if it came too late.
        """
        retry_after_ms = bridge.optional_milliseconds(retry_after)
        return self._answer(native.Decision.REFUSE(reason=reason, code=code, retry_after_ms=retry_after_ms))


def _allow(text: str | None = None, answer: bytes = b"", recent: int = 0, own_devices: bool = False) -> Any:
    return native.Decision.ALLOW(text=text, answer=answer, recent=recent, own_devices=own_devices)


@dataclass(slots=True)
class Publish(_Refusable):
    """A device publishes a message or a change."""

    from_user: str
    """The user, as the token says."""
    device: str
    number: int
    """The device's number of the publish, the same for each retry. Usable as an idempotency key."""
    to: t.Recipient
    in_room: bool
    """The device is in the room that it publishes to."""
    content: Content
    changed: LoggedMessage | None
    """The message that is changed, if this is a change."""

    @property
    def text(self) -> str | None:
        """The text, if the content is a plain text."""
        return self.content.text

    def accept(self, *, text: str | None = None, answer: bytes = b"") -> bool:
        """Accepts it, as it is or with another text. The device gets ``answer``. Returns False if too late: the device retries."""
        return self._answer(_allow(text, answer))

    def send(self, message: OutgoingMessage, *, answer: bytes = b"") -> bool:
        """Sends this message instead."""
        return self._answer(native.Decision.SEND(message=message._native(), answer=answer))

    def handled(self, *, answer: bytes = b"") -> bool:
        """Completes the publish without sending anything."""
        return self._answer(native.Decision.DONE(answer=answer))


@dataclass(slots=True)
class JoinRoom(_Refusable):
    """A device wants to join a room."""

    user: str
    device: str
    room: str
    data: bytes
    """Application data sent by the device."""

    def welcome(self, *, answer: bytes = b"", recent: int = 0) -> bool:
        """Admits the device. It gets ``answer``, and ``recent`` of the last messages."""
        return self._answer(_allow(None, answer, recent))


@dataclass(slots=True)
class MayReach(_Refusable):
    """Checks whether a user may reach another."""

    from_user: str
    device: str
    to_user: str
    kind: ReachKind

    def grant(self) -> bool:
        """Allows it, regardless of the built-in rules."""
        return self._answer(_allow())

    def default(self) -> bool:
        """Applies the built-in rules."""
        return self._answer(native.Decision.DEFAULT())


@dataclass(slots=True)
class IncomingSignal(_Call):
    """A device signals something."""

    from_user: str
    device: str
    to: t.Recipient
    to_device: str | None
    """The device that the signal is addressed to. None: all of them."""
    signal: t.Signal

    def relay(self, *, own_devices: bool = False) -> bool:
        """Passes it on; with ``own_devices`` also to the sender's other devices."""
        return self._answer(_allow(own_devices=own_devices))

    def drop(self) -> bool:
        """Drops the signal."""
        return self._answer(native.Decision.DONE(answer=b""))


@dataclass(slots=True)
class MayWatch(_Call):
    """Checks which users a user may watch."""

    watcher: str
    users: Sequence[str]

    def allow(self, users: Sequence[str] | None = None) -> bool:
        """Allows these users; None: all of them."""
        return self._answer(_allow() if users is None else native.Decision.USERS(users=list(users)))


@dataclass(slots=True)
class ChangeRequest(_Refusable):
    """A device changes a message."""

    from_user: str
    device: str
    to: t.Recipient
    message: LoggedMessage
    kind: ChangeKind

    def grant(self) -> bool:
        """Allows it regardless of the policy, for moderators."""
        return self._answer(_allow())

    def checked(self) -> bool:
        """Allows it if the policy does, without a :class:`Publish`."""
        return self._answer(native.Decision.CHECKED())

    def default(self) -> bool:
        """Leaves it to the policy, and then to the answer to a :class:`Publish`."""
        return self._answer(native.Decision.DEFAULT())


@dataclass(frozen=True, slots=True)
class RequestedHistory:
    """A request for a page of history."""

    conversation: t.User | t.Channel | t.Inbox


@dataclass(frozen=True, slots=True)
class RequestedReaders:
    """A request for the readers of a message of a channel."""

    channel: str
    seq: int


@dataclass(frozen=True, slots=True)
class RequestedWatch:
    """A request for the presence of users."""

    users: Sequence[str]


@dataclass(frozen=True, slots=True)
class RequestedMark:
    """A request to set marks in a conversation."""

    conversation: t.Recipient


@dataclass(slots=True)
class MayRequest(_Refusable):
    """A device makes a request."""

    from_user: str
    device: str
    kind: str
    """``history``, ``search``, ``conversations``, ``readers``, ``watch``, ``mark`` or ``unknown``."""
    details: RequestedHistory | RequestedReaders | RequestedWatch | RequestedMark | None

    def allow(self) -> bool:
        """Allows the request."""
        return self._answer(_allow())


@dataclass(slots=True)
class Logged(_Call):
    """A published message has been logged. Reported at least once, before the device is told that it was accepted."""

    message_id: int
    from_user: str
    device: str
    number: int
    to: t.Recipient
    content: Content
    places: Sequence[LogPlace]
    repeated: bool
    """The notice may be a repetition."""

    def done(self) -> bool:
        """Confirms the notice."""
        return self._answer(native.Decision.DONE(answer=b""))


@dataclass(slots=True)
class PresenceEvent(_Call):
    """A device has connected or disconnected. Needs no answer."""

    user: str
    device: str
    online: bool
    at: datetime


@dataclass(slots=True)
class Acked(_Call):
    """A device has processed everything in a log up to a position. Needs no answer."""

    user: str
    device: str
    place: LogPlace


@dataclass(slots=True)
class Marked(_Call):
    """A user has read further, or has changed a conversation's settings. Needs no answer."""

    user: str
    device: str | None
    """None: the back end itself."""
    state: t.ConversationState
    read_before: int


Call = Union[
    Publish,
    JoinRoom,
    MayReach,
    IncomingSignal,
    MayWatch,
    ChangeRequest,
    MayRequest,
    Logged,
    PresenceEvent,
    Acked,
    Marked,
]
"""A call of a service."""


@dataclass(frozen=True, kw_only=True)
class ServiceCalls:
    """The kinds of calls that a service wants, in addition to publishes. The other kinds are answered like those of a handler
    without a method for them, see the guide."""

    join_room: bool = False
    may_reach: bool = False
    signal: bool = False
    presence: bool = False
    may_watch: bool = False
    change: bool = False
    may_request: bool = False
    logged: bool = False
    acked: bool = False
    marked: bool = False


def _request(kind: Any) -> tuple[str, Any]:
    if kind.is_history():
        return "history", RequestedHistory(to_python(kind.conversation))
    if kind.is_readers():
        return "readers", RequestedReaders(kind.channel, kind.seq)
    if kind.is_watch():
        return "watch", RequestedWatch(kind.users)
    if kind.is_mark():
        return "mark", RequestedMark(to_python(kind.conversation))
    return ("search" if kind.is_search() else "conversations" if kind.is_conversations() else "unknown"), None


_CALLS: dict[type, Any] = {}


def _register_calls() -> None:
    generated = native.Call
    fields: dict[Any, tuple[type, tuple[str, ...]]] = {
        generated.PUBLISH: (Publish, ("from_user", "device", "number", "to", "in_room", "content", "changed")),
        generated.JOIN_ROOM: (JoinRoom, ("user", "device", "room", "data")),
        generated.MAY_REACH: (MayReach, ("from_user", "device", "to_user", "kind")),
        generated.SIGNAL: (IncomingSignal, ("from_user", "device", "to", "to_device", "signal")),
        generated.MAY_WATCH: (MayWatch, ("watcher", "users")),
        generated.CHANGE: (ChangeRequest, ("from_user", "device", "to", "message", "kind")),
        generated.LOGGED: (
            Logged,
            ("message_id", "from_user", "device", "number", "to", "content", "places", "repeated"),
        ),
        generated.ACKED: (Acked, ("user", "device", "place")),
        generated.MARKED: (Marked, ("user", "device", "state", "read_before")),
    }
    for variant, (public, names) in fields.items():
        _CALLS[variant] = _reader(public, names)
    _CALLS[generated.PRESENCE] = lambda value, reply: PresenceEvent(
        reply, value.user, value.device, value.online, bridge._READ["at"](value.at_ms)
    )
    _CALLS[generated.MAY_REQUEST] = lambda value, reply: MayRequest(
        reply, value.from_user, value.device, *_request(value.kind)
    )
    for record, public in (
        (native.UserDevice, UserDevice),
        (native.InboxPlace, InboxPlace),
        (native.ChannelReceipt, ChannelReceipt),
        (native.Delivery, Delivery),
        (native.DeviceAckState, DeviceAckState),
        (native.AckReport, AckReport),
        (native.BroadcastReceipt, BroadcastReceipt),
        (native.LoggedMessage, LoggedMessage),
        (native.LoggedPage, LoggedPage),
        (native.FoundLoggedPage, FoundPage),
        (native.BackendConversation, Conversation),
        (native.BackendConversationPage, ConversationPage),
        (native.UnreadTotal, UnreadTotal),
        (native.OnlineDevice, OnlineDevice),
        (native.ServerAddresses, ServerAddresses),
        (native.BackendHealth, Health),
        (native.LogPlace, LogPlace),
    ):
        bridge.register(record, public)
    for enumeration, public_enum in (
        (native.Durability, Durability),
        (native.Priority, Priority),
        (native.DeviceState, DeviceState),
        (native.AckOutcome, AckOutcome),
        (native.ReachKind, ReachKind),
    ):
        bridge.register_enum(enumeration, public_enum)


def _reader(public: type, names: tuple[str, ...]) -> Any:
    return lambda value, reply: public(reply, *[to_python(getattr(value, name)) for name in names])


_register_calls()


class Service:
    """A service, which yields the calls of devices one by one.

    ::

        async with await backend.serve() as service:
            async for incoming in service:
                if incoming.text and "spam" in incoming.text:
                    incoming.refuse("no spam, please")
                else:
                    incoming.accept()

    Leaving the block stops receiving; calls that were received and not answered are refused for now.
    """

    def __init__(self, generated: Any) -> None:
        """Use :meth:`Backend.serve`."""
        self._native = generated
        self._puller: bridge.Puller[Call] = bridge.Puller(self._pull)

    async def _pull(self) -> Sequence[Call]:
        return [
            _CALLS[type(incoming.call)](incoming.call, incoming.reply)
            for incoming in await self._native.next_calls(CALLS)
        ]

    def __aiter__(self) -> Service:
        return self

    async def __anext__(self) -> Call:
        if not await self._puller.wait():
            raise StopAsyncIteration
        incoming = self._puller.ready.popleft()
        if isinstance(incoming, (PresenceEvent, Acked, Marked)):
            incoming._answer(native.Decision.DONE(answer=b""))
        return incoming

    async def shutdown(self) -> None:
        """Stops receiving, and waits until all pending calls are answered. Keep taking calls meanwhile."""
        await call_whole(self._native.shutdown())

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ending = asyncio.ensure_future(self.shutdown())
        # Dropped unanswered, calls are refused for now.
        while await self._puller.take(CALLS):
            pass
        await ending


CALLS = 64
"""The number of calls that are pulled at once."""


class Handler:
    """Handles the calls of devices. Subclasses override the methods that they want to decide; the built-in rules answer the other
    calls. Each method answers its call, or raises :class:`Refusal`. Several run at once.

    If a method raises another exception or gives no answer, that is logged, and the device asks again.
    """

    async def publish(self, incoming: Publish) -> None:
        """Handles a message, and decides whether an edit, a reaction or a pin is allowed."""
        incoming.accept()

    async def join_room(self, join: JoinRoom) -> None:
        """Decides whether a device may join a room. Refuses all devices unless overridden."""

    async def may_reach(self, reach: MayReach) -> None:
        """Decides whether a user may reach another."""

    async def signal(self, signal: IncomingSignal) -> None:
        """Decides whether a signal is passed on."""

    async def presence(self, event: PresenceEvent) -> None:
        """Receives notice of devices that connect and disconnect."""

    async def may_watch(self, watch: MayWatch) -> None:
        """Decides which users a user may watch."""

    async def change(self, change: ChangeRequest) -> None:
        """Decides whether a message may be changed, before :meth:`publish` is asked."""

    async def may_request(self, request: MayRequest) -> None:
        """Decides whether a device may make a request."""

    async def logged(self, message: Logged) -> None:
        """Receives notice of logged messages, for notifications."""

    async def acked(self, ack: Acked) -> None:
        """Receives acknowledgements of devices."""

    async def marked(self, marked: Marked) -> None:
        """Receives read marks and conversation settings that users changed."""


_METHODS: dict[type, str] = {
    Publish: "publish",
    JoinRoom: "join_room",
    MayReach: "may_reach",
    IncomingSignal: "signal",
    PresenceEvent: "presence",
    MayWatch: "may_watch",
    ChangeRequest: "change",
    MayRequest: "may_request",
    Logged: "logged",
    Acked: "acked",
    Marked: "marked",
}


class Serving:
    """A running handler. Leaving the block stops it after its pending calls."""

    def __init__(self, backend: Backend, handler: Handler) -> None:
        """Use :meth:`Backend.handle`."""
        self._backend = backend
        self._handler = handler
        self._service: Service | None = None
        self._loop: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Serving:
        overridden = {
            name: getattr(type(self._handler), name) is not getattr(Handler, name)
            for name in _METHODS.values()
            if name != "publish"
        }
        self._service = await self._backend.serve(ServiceCalls(**overridden))
        self._loop = asyncio.create_task(self._serve(self._service))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._service is not None and self._loop is not None:
            await self._service.shutdown()
            await self._loop
        if self._calls:
            await asyncio.wait(self._calls)

    async def _serve(self, service: Service) -> None:
        async for incoming in service:
            task = asyncio.create_task(self._handle(incoming))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _handle(self, incoming: Call) -> None:
        method = _METHODS[type(incoming)]
        try:
            await getattr(self._handler, method)(incoming)
        except Refusal as refusal:
            if isinstance(incoming, _Refusable):
                incoming.refuse(refusal.reason, refusal.code, retry_after=refusal.retry_after)
            elif isinstance(incoming, IncomingSignal):
                incoming.drop()
            elif isinstance(incoming, MayWatch):
                incoming.allow([])
        except Exception:
            logger.exception("the handler's method %s has failed: devices ask again", method)
            return
        if isinstance(incoming, Logged) and not incoming.answered:
            incoming.done()
        if not incoming.answered:
            logger.error("the handler's method %s did not answer: devices ask again", method)


class Backend:
    """A back end, which sends messages to users and serves what their devices publish."""

    def __init__(self, generated: Any) -> None:
        """Use :meth:`connect`, or :meth:`EmbeddedServer.connect_backend`."""
        self._native = generated

    @classmethod
    async def connect(cls, config: BackendConfig) -> Backend:
        """Connects to Redis and NATS.

        :raises BackendError: The configuration makes no sense, or what it names cannot be reached. So do all methods below.
        """
        return cls(await call(native.connect_backend(config._native())))

    async def __aenter__(self) -> Backend:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()

    async def send(
        self,
        to: Receivers,
        said: str | Content | Body,
        *,
        from_user: str | None = None,
        durability: Durability | None = None,
        priority: Priority | None = None,
        terminals: Sequence[t.Terminal] = (),
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Sends a message to users or a channel. See :class:`OutgoingMessage` for what the arguments mean."""
        message = OutgoingMessage(
            to=to,
            said=said,
            from_user=from_user,
            durability=durability,
            priority=priority,
            terminals=terminals,
            idempotency_key=idempotency_key,
        )
        return await self.send_message(message)

    async def send_message(self, message: OutgoingMessage) -> Receipt:
        """Sends a message."""
        return Receipt(await call_whole(self._native.send(message._native())))

    async def send_many(self, messages: Sequence[OutgoingMessage]) -> list[int | BackendError]:
        """Sends many messages at once, each independent of the others. Returns the id of each message, or the error of its send, in
        order."""
        sent = await call_whole(self._native.send_many([message._native() for message in messages]))
        results: list[int | BackendError] = list(sent.message_ids)
        for failed in sent.errors:
            results[failed.index] = BackendError(failed.code, failed.reason, failed.retryable)
        return results

    async def broadcast(self, said: str | Content | Body, *, from_user: str | None = None) -> BroadcastReceipt:
        """Sends a transient message to all connected devices."""
        message = OutgoingMessage(to=None, said=said, from_user=from_user, durability=Durability.TRANSIENT)
        receipt: BroadcastReceipt = to_python(await call_whole(self._native.broadcast(message._native())))
        return receipt

    async def wait_acked(self, receipt: Receipt, within: float) -> AckReport:
        """Waits until the recipients' devices have acknowledged a message, for at most that many seconds."""
        waiting = self._native.wait_acked(receipt._native, bridge.milliseconds(within))
        report: AckReport = to_python(await call(waiting))
        return report

    async def change(self, to: Receivers, message_id: int, kind: ChangeKind) -> Receipt:
        """Changes a message of any sender. ``to`` is its destination: a channel, a user, or both users of a conversation."""
        return Receipt(await call_whole(self._native.change(_target(to), message_id, to_native(kind))))

    async def recall(self, message_id: int) -> Receipt:
        """Recalls a message by its id, which is looked up in the message store."""
        return Receipt(await call_whole(self._native.recall(message_id)))

    def channel(self, channel: str) -> ChannelAdmin:
        """Returns a group."""
        return ChannelAdmin(self, channel)

    def room(self, room: str) -> RoomAdmin:
        """Returns a room: a channel that devices join and leave by themselves while they are connected."""
        return RoomAdmin(self, room)

    async def channels(self, user: str) -> list[str]:
        """Returns the channels that a user is a member of."""
        channels: list[str] = await call(self._native.channels(user))
        return channels

    async def serve(self, calls: ServiceCalls | None = None) -> Service:
        """Receives this back end's share of devices' publishes, and of the calls asked for."""
        wanted = calls or ServiceCalls()
        names = {name: getattr(wanted, name) for name in ServiceCalls.__dataclass_fields__}
        return Service(await call_whole(self._native.serve(native.ServiceCalls(**names))))

    def handle(self, handler: Handler) -> Serving:
        """Runs a handler for the duration of the block: ``async with backend.handle(MyHandler()):``."""
        return Serving(self, handler)

    async def history(
        self,
        user: str,
        of: str | t.Recipient | t.Inbox,
        range: t.HistoryRange | None = None,
        limit: int = 50,
        *,
        before_message: int | None = None,
        after_message: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Sequence[t.Kind] = (),
    ) -> LoggedPage:
        """Reads a page of the history of a user's conversation, as the user sees it."""
        query = bridge.history_query(range, before_message, after_message, since, until, kinds)
        page: LoggedPage = to_python(await call(self._native.history(user, bridge.conversation(of), query, limit)))
        return page

    async def raw_history(
        self, user: str, of: str | t.Recipient | t.Inbox, range: t.HistoryRange | None = None, limit: int = 50
    ) -> LoggedPage:
        """Reads a page of raw log entries."""
        query = bridge.history_query(range, None, None, None, None, ())
        page: LoggedPage = to_python(await call(self._native.raw_history(user, bridge.conversation(of), query, limit)))
        return page

    async def search(
        self,
        user: str,
        text: str,
        limit: int = 20,
        *,
        within: str | t.Recipient | t.Inbox | None = None,
        kinds: Sequence[t.Kind] = (),
        from_user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: t.SearchPlace | None = None,
    ) -> FoundPage:
        """Searches all messages that a user may see. Needs a message store."""
        search = bridge.search_query(text, within, kinds, from_user, since, until, before)
        page: FoundPage = to_python(await call(self._native.search(user, search, limit)))
        return page

    async def message(self, message_id: int) -> LoggedMessage:
        """Looks a message up by its id in the message store."""
        message: LoggedMessage = to_python(await call(self._native.message(message_id)))
        return message

    async def message_in(self, user: str, of: str | t.Recipient, message_id: int) -> LoggedMessage:
        """Returns a message of a user's conversation."""
        found = await call(self._native.message_in(user, bridge.recipient(of), message_id))
        message: LoggedMessage = to_python(found)
        return message

    async def conversations(self, user: str, skip: int = 0, limit: int = 50) -> ConversationPage:
        """Reads a page of a user's conversations."""
        page: ConversationPage = to_python(await call(self._native.conversations(user, skip, limit)))
        return page

    async def conversation(self, user: str, of: str | t.Recipient) -> Conversation | None:
        """Returns a conversation of a user, if there is one."""
        found: Conversation | None = to_python(await call(self._native.conversation(user, bridge.recipient(of))))
        return found

    async def set_conversation(
        self, user: str, of: str | t.Recipient, change: t.ConversationChange
    ) -> t.ConversationState:
        """Sets marks in a user's conversation."""
        setting = self._native.set_conversation(user, bridge.recipient(of), to_native(change))
        state: t.ConversationState = to_python(await call_whole(setting))
        return state

    async def unread(self, user: str) -> UnreadTotal:
        """Counts a user's unread messages."""
        total: UnreadTotal = to_python(await call(self._native.unread(user)))
        return total

    async def presence(self, users: Sequence[str]) -> list[t.UserPresence]:
        """Returns the presence of users."""
        return list(to_python(await call(self._native.presence(list(users)))))

    async def online(self, users: Sequence[str]) -> Mapping[str, Sequence[OnlineDevice]]:
        """Returns the connected devices of users. Users without any are omitted."""
        online: Mapping[str, Sequence[OnlineDevice]] = to_python(await call(self._native.online(list(users))))
        return online

    async def unwatch(self, watcher: str, user: str) -> None:
        """Stops a user from watching another one."""
        await call_whole(self._native.unwatch(watcher, user))

    async def kick(self, user: str, device: str | None = None, reason: str = "") -> int:
        """Closes the connections of a user, or of one device such as ``ios/4f1c``, and returns their number."""
        closed: int = await call_whole(self._native.kick(user, device, reason))
        return closed

    async def endpoints(self) -> list[ServerAddresses]:
        """Returns the servers' addresses, best first."""
        return list(to_python(await call(self._native.endpoints())))

    async def health(self) -> Health:
        """Checks that Redis, NATS and the servers are alive."""
        health: Health = to_python(await call(self._native.health()))
        return health

    async def shutdown(self) -> None:
        """Shuts the back end down."""
        await call_whole(self._native.shutdown())


class ChannelAdmin:
    """A group, as its back end manages it."""

    def __init__(self, backend: Backend, channel: str) -> None:
        """Use :meth:`Backend.channel`."""
        self._backend = backend
        self._native = backend._native
        self.channel = channel

    async def add_members(self, *users: str, history_from_joining: bool = False) -> None:
        """Adds members. With ``history_from_joining`` they cannot see earlier messages."""
        await call_whole(self._native.add_members(self.channel, list(users), history_from_joining))

    async def remove_members(self, *users: str) -> None:
        """Removes members."""
        await call_whole(self._native.remove_members(self.channel, list(users)))

    async def members_changed(self, added: Sequence[str] = (), removed: Sequence[str] = ()) -> None:
        """Reports that the application's own member table has changed."""
        await call_whole(self._native.members_changed(self.channel, list(added), list(removed)))

    async def members(self, after: str | None = None, limit: int = 1000) -> list[str]:
        """Lists members in order, starting after a given member."""
        members: list[str] = await call(self._native.members(self.channel, after, limit))
        return members

    async def is_member(self, user: str) -> bool:
        """Returns whether a user is a member."""
        member: bool = await call(self._native.is_member(self.channel, user))
        return member

    async def send(self, said: str | Content | Body, *, from_user: str | None = None) -> Receipt:
        """Sends a message to the members. :meth:`Backend.send` takes more arguments."""
        return await self._backend.send(t.Channel(self.channel), said, from_user=from_user)

    async def online(self) -> int:
        """Returns the number of connected devices of members."""
        count: int = await call(self._native.channel_online(self.channel))
        return count

    async def readers(self, seq: int, limit: int = 100) -> t.Readers:
        """Returns who has read the message at a position."""
        readers: t.Readers = to_python(await call(self._native.channel_readers(self.channel, seq, limit)))
        return readers

    async def history(self, range: t.HistoryRange | None = None, limit: int = 50) -> LoggedPage:
        """Reads a page of history, as the back end sees it."""
        query = bridge.history_query(range, None, None, None, None, ())
        page: LoggedPage = to_python(await call(self._native.channel_history(self.channel, query, limit)))
        return page

    async def close(self) -> None:
        """Closes the channel. It loses all its members, who keep its history."""
        await call_whole(self._native.close_channel(self.channel))

    async def dissolve(self) -> None:
        """Dissolves the channel. It loses all its members, who also lose its history."""
        await call_whole(self._native.dissolve_channel(self.channel))


class RoomAdmin:
    """A room, as its back end manages it."""

    def __init__(self, backend: Backend, room: str) -> None:
        """Use :meth:`Backend.room`."""
        self._native = backend._native
        self.room = room

    async def send(
        self,
        said: str | Content | Body,
        *,
        from_user: str | None = None,
        durability: Durability | None = None,
        priority: Priority | None = None,
    ) -> Receipt:
        """Sends a message to all devices in the room. It is transient unless its durability is set."""
        message = OutgoingMessage(
            to=None, said=said, from_user=from_user, durability=durability, priority=priority
        )
        return Receipt(await call_whole(self._native.send_to_room(self.room, message._native())))

    async def count(self, kind: str, add: int = 1) -> None:
        """Adds to a counter, such as that of likes. Additions in quick succession are sent as one message."""
        await call_whole(self._native.count_in_room(self.room, kind, add))

    async def online(self) -> int:
        """Returns the number of devices in it."""
        count: int = await call(self._native.room_online(self.room))
        return count

    async def kick(self, user: str, reason: str = "") -> int:
        """Removes all devices of a user, and returns their number."""
        count: int = await call_whole(self._native.kick_from_room(self.room, user, reason))
        return count

    async def close(self, reason: str = "") -> None:
        """Removes all devices."""
        await call_whole(self._native.close_room(self.room, reason))


class TokenMinter:
    """Creates tokens for devices."""

    def __init__(self, generated: Any) -> None:
        """Use :meth:`hs256`, :meth:`es256` or :meth:`eddsa`."""
        self._native = generated

    @classmethod
    def hs256(cls, key_id: str, secret: bytes, issuer: str, audience: str) -> TokenMinter:
        """Signs with a secret of at least 32 bytes that is shared with the servers."""
        return cls(call_sync(native.TokenMinter.hs256, key_id, secret, issuer, audience))

    @classmethod
    def es256(cls, key_id: str, pem: str, issuer: str, audience: str) -> TokenMinter:
        """Signs with the private key of an elliptic curve, in PEM."""
        return cls(call_sync(native.TokenMinter.es256, key_id, pem, issuer, audience))

    @classmethod
    def eddsa(cls, key_id: str, pem: str, issuer: str, audience: str) -> TokenMinter:
        """Signs with an Ed25519 private key, in PEM."""
        return cls(call_sync(native.TokenMinter.eddsa, key_id, pem, issuer, audience))

    def mint(self, user: str, valid_for: float | timedelta) -> str:
        """Creates a token for a user, valid for a duration or a number of seconds."""
        seconds = valid_for.total_seconds() if isinstance(valid_for, timedelta) else valid_for
        token: str = call_sync(self._native.mint, user, bridge.milliseconds(seconds))
        return token


def random_secret() -> bytes:
    """Generates a secret of 32 random bytes, to sign tokens with."""
    secret: bytes = native.random_secret()
    return secret


class EmbeddedServer:
    """An in-process server with all parts of a cluster, for development, tests and small deployments.

    ::

        async with await EmbeddedServer.start() as server, await server.connect_backend() as backend:
            print(server.endpoints, server.token("alice"))
    """

    def __init__(self, generated: Any, minter: TokenMinter) -> None:
        """Use :meth:`start`."""
        self._native = generated
        self.minter = minter
        """Creates tokens that the server accepts."""
        self.endpoints: list[str] = generated.endpoints()
        """The endpoints for clients."""
        self.certificate_sha256: str | None = generated.certificate_sha256()
        """The fingerprint of the QUIC certificate, which clients have to trust."""

    @classmethod
    async def start(
        cls,
        *,
        websocket: str | None = "127.0.0.1:0",
        quic: str | None = None,
        secret: bytes | None = None,
        issuer: str = "embedded",
        audience: str = "im",
        data: str | None = None,
    ) -> EmbeddedServer:
        """Starts a server. Without a ``secret`` its tokens end with the process; without a file for ``data`` its messages do.

        :raises BackendError: The configuration makes no sense, or an address is in use.
        """
        secret = secret or random_secret()
        minter = TokenMinter.hs256("embedded", secret, issuer, audience)
        config = native.EmbeddedServerConfig(
            secret=secret,
            key_id="embedded",
            issuer=issuer,
            audience=audience,
            websocket=websocket,
            quic=quic,
            data=data,
        )
        return cls(await call_whole(native.start_embedded_server(config)), minter)

    def token(self, user: str, valid_for: float | timedelta = 3600.0) -> str:
        """Creates a token for a user."""
        return self.minter.mint(user, valid_for)

    async def connect_backend(self, config: BackendConfig | None = None) -> Backend:
        """Starts a back end on this server."""
        config = config or BackendConfig()
        return Backend(await call_whole(self._native.connect_backend(config._native())))

    async def shutdown(self) -> None:
        """Shuts the server down, and tells devices to disconnect."""
        await call_whole(self._native.shutdown())

    async def __aenter__(self) -> EmbeddedServer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()
