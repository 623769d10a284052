"""The client: a device's connection to its servers."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Union

from . import _bridge as bridge
from . import types as t
from ._bridge import call, call_sync, call_whole, native, to_native, to_python
from .content import Body, ChangeKind, Content, DeleteForMe, Edit, Pin, Reaction, Recall, Text
from .errors import TokenDenied, TokenUnavailable

__all__ = [
    "CertificateSha256",
    "Client",
    "ClientConfig",
    "ConversationList",
    "Pem",
    "SendHandle",
    "Timeline",
    "TokenFunction",
    "TokenRequest",
    "Trust",
    "UnsettledSend",
]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Why the client asks for a token."""

    kind: str
    """``first``, ``reopened``, ``reconnect`` or ``rejected``: then only another token helps."""
    code: int | None = None
    """Where a server refused the last token: the close code."""
    reason: str = ""
    """Where a server refused the last token: the reason, for logs."""


TokenFunction = Callable[[TokenRequest], Union[str, Awaitable[str]]]
"""Gives a token. A plain function is called on a thread that may block; a coroutine function runs in the event loop in which the
client was opened. It raises :class:`TokenDenied` when there will be none, which stops the client; after any other exception it is
asked again, with backoff."""


@dataclass(frozen=True, slots=True)
class Pem:
    """Trusts the public certificate authorities and the certificates of this PEM text."""

    text: str


@dataclass(frozen=True, slots=True)
class CertificateSha256:
    """Trusts only a server whose own certificate has this SHA-256 fingerprint. For development servers."""

    hex: str


Trust = Union[Pem, CertificateSha256]
"""The server certificates to trust."""


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """Configuration of a client."""

    endpoints: Sequence[str]
    """The endpoints of the servers, best first: ``quic://host:port``, ``wss://host[:port][/path]``, ``ws://host[:port][/path]``."""
    token: str | TokenFunction
    """A JSON Web Token whose ``sub`` is the user, or the function that gives one."""
    device_id: str
    """The device's name, the same over restarts: 1-64 printable ASCII characters without space, ``{``, ``}`` and ``/``."""
    terminal: t.Terminal = t.Terminal.DESKTOP
    """The kind of device."""
    trust: Trust | None = None
    """The certificates to trust. None: those of the public certificate authorities."""
    store_path: str | None = None
    """The file in which the device keeps its place in each log and what it has not sent yet. Without one it forgets all that when the
    process ends. One file belongs to one user and one client at a time."""
    publish_timeout: float | None = None
    """How many seconds :meth:`Client.send_and_wait` waits, unless it is given a limit. None: 30."""
    request_timeout: float | None = None
    """How many seconds a history and whatever else asks the back end waits. None: 15."""
    cursor_check: float | None = None
    """About how often, in seconds, the device checks that it has missed nothing. None: 300."""
    connect_timeout: float | None = None
    """How many seconds one endpoint may take. None: 10."""
    client_name: str | None = None
    """Name and version of the software, for the operator's eyes."""
    new_login: bool = False
    """The user has just logged in on this device: it takes the place of other devices, as the login policy says."""
    more_endpoints: Callable[[], Sequence[str]] | None = field(default=None)
    """Gives new endpoints when none of the known ones could be reached. It is called on a thread that may block."""


class _Tokens(native.TokenProvider):  # type: ignore[misc]
    """The application's function as the library's provider. It is called on threads of the library."""

    def __init__(self, token: str | TokenFunction) -> None:
        self._token = token
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def token(self, why: Any) -> str:
        if isinstance(self._token, str):
            if why.is_rejected():
                raise native.TokenError.Denied(f"the server refused the token: {why.reason}")
            return self._token
        try:
            given = self._token(_token_request(why))
            return given if isinstance(given, str) else self._run(given)
        except TokenDenied as error:
            raise native.TokenError.Denied(str(error)) from error
        except TokenUnavailable as error:
            raise native.TokenError.Unavailable(str(error)) from error
        except Exception as error:
            raise native.TokenError.Unavailable(f"{type(error).__name__}: {error}") from error

    def _run(self, given: Awaitable[str]) -> str:
        if self._loop is None or not inspect.isawaitable(given):
            raise TokenUnavailable("a coroutine function for tokens needs a client that is opened in an event loop")

        async def run() -> str:
            return await given

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(TOKEN_TIMEOUT)


TOKEN_TIMEOUT = 30.0
"""How many seconds a coroutine function for tokens may take."""


class _Endpoints(native.EndpointProvider):  # type: ignore[misc]
    def __init__(self, endpoints: Callable[[], Sequence[str]]) -> None:
        self._endpoints = endpoints

    def endpoints(self) -> list[str]:
        try:
            return list(self._endpoints())
        except Exception as error:
            raise native.TokenError.Unavailable(str(error)) from error


def _token_request(why: Any) -> TokenRequest:
    if why.is_rejected():
        return TokenRequest("rejected", why.code, why.reason)
    return TokenRequest("first" if why.is_first() else "reopened" if why.is_reopened() else "reconnect")


def _trust(trust: Trust | None) -> Any:
    if isinstance(trust, Pem):
        return native.Trust.PEM(text=trust.text)
    if isinstance(trust, CertificateSha256):
        return native.Trust.CERTIFICATE_SHA256(hex=trust.hex)
    return None


class SendHandle:
    """A message that the client has taken, and its outcome. Dropping it does not cancel the send."""

    __slots__ = ("_client", "_native", "local_id")

    local_id: int
    """The id of the send on this device. :class:`Published`, :class:`PublishFailed` and the message itself, when it comes, carry it."""

    def __init__(self, generated: Any, client: Client) -> None:
        """Use :meth:`Client.send`."""
        self._native = generated
        self._client = client
        self.local_id = generated.local_id()

    async def outcome(self) -> t.PublishResult:
        """Waits for the outcome, as long as it takes. :meth:`Client.shutdown` ends the wait.

        :raises PublishError: It says whether anything was sent.
        """
        result: t.PublishResult = to_python(await call(self._native.outcome()))
        return result

    async def discard(self) -> bool:
        """Forgets the send if it has failed, or was never handed to a connection. False: it may be on its way, or is settled."""
        discarded: bool = await call_whole(self._native.discard())
        return discarded

    async def retry(self) -> SendHandle:
        """Sends anew what has failed, under a new id. The failed one is forgotten.

        :raises SendError: Nothing is sent, and a failed send stays.
        """
        return SendHandle(await call_whole(self._native.retry()), self._client)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SendHandle):
            return NotImplemented
        return self._client is other._client and self.local_id == other.local_id

    def __hash__(self) -> int:
        return hash(self.local_id)

    def __repr__(self) -> str:
        return f"SendHandle(local_id={self.local_id})"


@dataclass(frozen=True, slots=True)
class UnsettledSend:
    """A send that is not settled: what to show of this device's own messages before they come back."""

    handle: SendHandle
    to: t.Recipient
    content: Content
    state: t.SendState
    failure: t.SendFailure | None
    """Why it has failed, if it has."""


class Client:
    """A device's connection to its servers: the client makes it, watches over it and makes it again.

    ::

        async with Client.open(ClientConfig(endpoints=["wss://im.example.com"], token=token, device_id="bot")) as client:
            async for event in client.events():
                if isinstance(event, Message):
                    print(event.from_user, event.text)
                    client.ack(event)

    Take events all the time: while 256 wait, the client stops reading from the network, and nothing is answered either.
    A coroutine that is cancelled loses nothing and repeats nothing: events stay for the next taker, and a send goes on.
    """

    def __init__(self, generated: Any) -> None:
        """Use :meth:`open`."""
        self._native = generated
        self._puller: bridge.Puller[t.Event] = bridge.Puller(self._pull)

    @classmethod
    def open(cls, config: ClientConfig) -> Client:
        """Opens a client that is not connected yet. It blocks while it opens the store's file.

        :raises OpenError: The configuration makes no sense, or the store is in use. The network plays no part.
        """
        provider = config.more_endpoints
        generated = native.ClientConfig(
            endpoints=list(config.endpoints),
            terminal=to_native(config.terminal),
            device_id=config.device_id,
            trust=_trust(config.trust),
            store_path=config.store_path,
            publish_timeout_ms=bridge.optional_milliseconds(config.publish_timeout),
            request_timeout_ms=bridge.optional_milliseconds(config.request_timeout),
            cursor_check_ms=bridge.optional_milliseconds(config.cursor_check),
            connect_timeout_ms=bridge.optional_milliseconds(config.connect_timeout),
            client_name=config.client_name,
            new_login=config.new_login,
            endpoint_provider=None if provider is None else _Endpoints(provider),
        )
        return cls(call_sync(native.Client.open, generated, _Tokens(config.token)))

    async def __aenter__(self) -> Client:
        """Connects. Leaving the block shuts the client down."""
        self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()

    def connect(self) -> None:
        """Makes a connection and keeps it; at once if it was waiting. Returns at once."""
        self._native.connect()

    def disconnect(self) -> None:
        """Ends the connection and stays away. Returns at once."""
        self._native.disconnect()

    def set_endpoints(self, endpoints: Sequence[str]) -> None:
        """Replaces the endpoints, best first, from the next attempt on. Returns at once.

        :raises OpenError: The client goes on with those that it knows.
        """
        call_sync(self._native.set_endpoints, list(endpoints))

    def set_token(self, token: str) -> None:
        """Replaces the token or its function by a token, from the next connection on. Returns at once."""
        self._native.set_token(token)

    @property
    def state(self) -> t.State:
        """Where the client stands."""
        state: t.State = to_python(self._native.state())
        return state

    async def state_changed(self, known: t.State) -> t.State:
        """Waits until the client's state is another one than ``known``, and returns it: at once, if it is already. Several may wait, and no
        event is taken by it."""
        state: t.State = to_python(await call(self._native.state_changed(to_native(known))))
        return state

    @property
    def transport(self) -> t.Transport | None:
        """The transport of the connection; None unless connected."""
        transport: t.Transport | None = to_python(self._native.transport())
        return transport

    @property
    def skipped_messages(self) -> int:
        """How many received messages were skipped because their ids made no sense."""
        count: int = self._native.skipped_messages()
        return count

    @property
    def repeated_messages(self) -> int:
        """How many entries of logs came although they were known, and were dropped."""
        count: int = self._native.repeated_messages()
        return count

    async def _pull(self) -> Sequence[t.Event]:
        batch = await self._native.next_compact_events(BATCH)
        others = iter(batch.others)
        return [
            to_python(next(others)) if item is None else _text_message(item) for item in json.loads(batch.texts)
        ]

    async def next_events(self, most: int = 256) -> list[t.Event]:
        """Takes the next events, in order: at least one, waiting for it if need be. Empty: the client is closed, and everything was
        taken. A call that is cancelled takes nothing with it."""
        return await self._puller.take(most)

    def events(self) -> AsyncIterator[t.Event]:
        """The events one by one, until the client is closed. They come from the same queue as those of :meth:`next_events`: each event
        goes to one taker, and what a loop that ends has not taken stays for the next one."""
        return bridge.Iterator(self._puller)

    def ack(self, position: t.Position | t.Message | t.Reset) -> None:
        """Acknowledges that the application has dealt with everything in a log up to a position. Returns at once. It is cumulative: the
        last one of several is enough. After a restart of the process the log goes on behind it."""
        place = position if isinstance(position, t.Position) else position.position
        if place is not None:
            self._native.ack(to_native(place))

    async def send(
        self, to: str | t.Recipient, said: str | Content | Body, *, within: float | None = None
    ) -> SendHandle:
        """Sends a message to a user or a channel. Returns as soon as the store has it; the events :class:`Published` or
        :class:`PublishFailed`, and the handle, tell the outcome. With ``within`` the client gives up after that many seconds.

        A call that is cancelled sends all the same: it is among the :meth:`unsettled_sends`.

        :raises SendError: It was not taken, and nothing will be sent.
        """
        request = self._native.send(bridge.recipient(to), bridge.as_content(said), bridge.optional_milliseconds(within))
        return SendHandle(await call_whole(request), self)

    async def send_and_wait(
        self, to: str | t.Recipient, said: str | Content | Body, *, within: float | None = None
    ) -> t.PublishResult:
        """Sends a message to a user or a channel and waits for the outcome. It is told here alone: no event follows, and what has failed
        is not kept. A call that is cancelled sends all the same.

        :raises PublishError: It says whether anything was sent.
        """
        request = self._native.send_and_wait(
            bridge.recipient(to), bridge.as_content(said), bridge.optional_milliseconds(within)
        )
        result: t.PublishResult = to_python(await call_whole(request))
        return result

    async def unsettled_sends(self) -> list[UnsettledSend]:
        """The sends that are not settled, of this process and earlier ones, in order."""
        return [
            UnsettledSend(
                SendHandle(send.handle, self),
                to_python(send.to),
                to_python(send.content),
                to_python(send.state),
                to_python(send.failure),
            )
            for send in await call(self._native.unsettled_sends())
        ]

    async def history(
        self,
        of: str | t.Recipient | t.Inbox,
        range: t.HistoryRange | None = None,
        limit: int = 0,
        *,
        before_message: int | None = None,
        after_message: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Sequence[t.Kind] = (),
    ) -> t.HistoryPage:
        """Reads a page of the past: the newest messages unless a range says otherwise. ``limit`` 0 is as many as the back end likes to
        send; it may always send fewer than asked for.

        :raises RequestError: There is no answer.
        """
        query = bridge.history_query(range, before_message, after_message, since, until, kinds)
        page: t.HistoryPage = to_python(await call(self._native.query_history(bridge.conversation(of), query, limit)))
        return page

    async def raw_history(
        self,
        of: str | t.Recipient | t.Inbox,
        range: t.HistoryRange | None = None,
        limit: int = 0,
        *,
        before_message: int | None = None,
        after_message: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Sequence[t.Kind] = (),
    ) -> t.HistoryPage:
        """Reads a page of entries as they are in the log: messages, and changes at the places where they were made.

        :raises RequestError: There is no answer.
        """
        query = bridge.history_query(range, before_message, after_message, since, until, kinds)
        page: t.HistoryPage = to_python(await call(self._native.raw_history(bridge.conversation(of), query, limit)))
        return page

    async def fill(self, reset: t.Reset | t.Position, limit: int = 0) -> t.HistoryPage:
        """Reads the messages that a reset left out: the last ones up to its position.

        :raises RequestError: There is no answer.
        """
        position = reset.position if isinstance(reset, t.Reset) else reset
        page: t.HistoryPage = to_python(await call(self._native.fill(to_native(position), limit)))
        return page

    async def search(
        self,
        text: str,
        limit: int = 0,
        *,
        within: str | t.Recipient | t.Inbox | None = None,
        kinds: Sequence[t.Kind] = (),
        from_user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: t.SearchPlace | None = None,
    ) -> t.FoundPage:
        """Searches for messages in all that the user may see and that the back ends keep for good, or in one conversation of it.

        :raises RequestError: There is no answer.
        """
        search = bridge.search_query(text, within, kinds, from_user, since, until, before)
        page: t.FoundPage = to_python(await call(self._native.search(search, limit)))
        return page

    async def conversations(self, skip: int = 0, limit: int = 0) -> t.ConversationPage:
        """Reads a page of the user's conversations: pinned ones first, then by their last messages.

        :raises RequestError: There is no answer.
        """
        page: t.ConversationPage = to_python(await call(self._native.conversations(skip, limit)))
        return page

    def conversation_list(self, user: str) -> ConversationList:
        """A list of the conversations of this client's user, kept up to date by its events. Ask for it before events are taken.

        :raises InvalidContent: That is no user id.
        """
        return ConversationList(self, call_sync(self._native.conversation_list, user))

    async def readers(self, channel: str, seq: int, limit: int = 100) -> t.Readers:
        """Tells who has read a message of a channel, by its place: how many, and up to ``limit`` names.

        :raises RequestError: There is no answer.
        """
        readers: t.Readers = to_python(await call(self._native.readers(channel, seq, limit)))
        return readers

    async def mark_read(self, of: str | t.Recipient, position: t.Position | t.Message) -> None:
        """Everything in a conversation up to a position was read. :class:`ConversationsChanged` tells when it stands.

        :raises MarkError: Nothing was set.
        """
        place = position.position if isinstance(position, t.Message) else position
        if place is not None:
            await call_whole(self._native.mark_read(bridge.recipient(of), to_native(place)))

    async def set_conversation(self, of: str | t.Recipient, change: t.ConversationChange) -> None:
        """Pins, mutes, hides or deletes a conversation, or keeps a draft.

        :raises MarkError: Nothing was set.
        """
        await call_whole(self._native.set_conversation(bridge.recipient(of), to_native(change)))

    async def change(self, message: t.MessageRef, kind: ChangeKind, *, within: float | None = None) -> SendHandle:
        """Changes a message that was sent before. It is sent like a message; once the back end has taken it, it comes to all devices.

        :raises SendError: It was not taken, and nothing will be sent.
        """
        request = self._native.change(to_native(message), to_native(kind), bridge.optional_milliseconds(within))
        return SendHandle(await call_whole(request), self)

    async def change_and_wait(
        self, message: t.MessageRef, kind: ChangeKind, *, within: float | None = None
    ) -> t.PublishResult:
        """Changes a message and waits until the back end has taken it.

        :raises PublishError: It says whether anything was sent.
        """
        request = self._native.change_and_wait(
            to_native(message), to_native(kind), bridge.optional_milliseconds(within)
        )
        result: t.PublishResult = to_python(await call_whole(request))
        return result

    async def recall(self, message: t.MessageRef) -> SendHandle:
        """Takes the message back: nobody is to see it any more."""
        return await self.change(message, Recall())

    async def edit(self, message: t.MessageRef, said: str | Content) -> SendHandle:
        """Replaces the message's content."""
        return await self.change(message, Edit(Content(Text(said)) if isinstance(said, str) else said))

    async def delete_for_me(self, message: t.MessageRef) -> SendHandle:
        """Removes the message from all devices of this user."""
        return await self.change(message, DeleteForMe())

    async def react(self, message: t.MessageRef, emoji: str) -> SendHandle:
        """Adds this user's reaction."""
        return await self.change(message, Reaction(emoji))

    async def unreact(self, message: t.MessageRef, emoji: str) -> SendHandle:
        """Takes this user's reaction back."""
        return await self.change(message, Reaction(emoji, removed=True))

    async def pin(self, message: t.MessageRef) -> SendHandle:
        """Pins the message, for everybody in the conversation."""
        return await self.change(message, Pin())

    async def unpin(self, message: t.MessageRef) -> SendHandle:
        """Unpins it."""
        return await self.change(message, Pin(removed=True))

    async def join_room(self, channel: str, data: bytes = b"") -> t.JoinedRoom:
        """Joins a room, if the back end lets the device in. It stays in over changes of the connection.

        :raises RequestError: The device is not in.
        """
        joined: t.JoinedRoom = to_python(await call_whole(self._native.join_room(channel, data)))
        return joined

    async def leave_room(self, channel: str) -> None:
        """Leaves a room.

        :raises RequestError: There is no answer.
        """
        await call_whole(self._native.leave_room(channel))

    async def watch(self, users: Sequence[str]) -> list[t.UserPresence]:
        """Watches these users, at most 500, and no others, and returns their presence. :class:`PresenceChanged` tells when it changes.

        :raises RequestError: There is no answer.
        """
        return list(to_python(await call_whole(self._native.watch(list(users)))))

    async def signal(self, to: str | t.Recipient, signal: t.Signal) -> bool:
        """Signals something to a user's devices or a channel. False: it is not sent, because there is no connection."""
        goes: bool = await call_whole(self._native.signal(bridge.recipient(to), to_native(signal)))
        return goes

    async def signal_device(self, to: str, device: str, signal: t.Signal) -> bool:
        """Signals something to one device of a user, as a signal from it has named it."""
        goes: bool = await call_whole(self._native.signal_device(to, device, to_native(signal)))
        return goes

    def network_changed(self) -> None:
        """Tells the client that the device has another network, or has one again: a connection is probed, an attempt begins anew."""
        self._native.network_changed()

    async def entered_background(self, within: float) -> bool:
        """Tells the client that its application goes into the background. Within that many seconds it sends what waits, if it is
        connected, saves everything, ends the connection and closes the store's file. True: all of that is done."""
        complete: bool = await call_whole(self._native.entered_background(bridge.milliseconds(within)))
        return complete

    def entered_foreground(self) -> None:
        """Tells the client that its application is in the foreground again: it connects if it was connected before."""
        self._native.entered_foreground()

    def memory_pressure(self) -> None:
        """Tells the client that the device is short of memory. Nothing is forgotten."""
        self._native.memory_pressure()

    async def shutdown(self) -> None:
        """Ends the client for good and waits until that is done, for some seconds at most. Events that came before can still be taken."""
        await call_whole(self._native.shutdown())


BATCH = 256
"""How many events are pulled at once."""

_QUIC, _WEB_SOCKET = t.Transport.QUIC, t.Transport.WEB_SOCKET


def _text_message(item: list[Any]) -> t.Message:
    """A message of plain text, from its compact form."""
    id, from_user, to_user, channel, text, silent, local_id, quic, log, seq, position_id = item
    return t.Message(
        id,
        from_user,
        to_user,
        channel,
        Content(Text(text), (), False, None, None, silent),
        local_id,
        _QUIC if quic else _WEB_SOCKET,
        None if log is None else t.Position(log, seq, position_id),
    )


class ConversationList:
    """The list of conversations, with last messages and unread counts. It follows the events that its client hands out; :meth:`load` it
    when it :attr:`needs_loading`: at first, and after something happened that it cannot know the effect of."""

    def __init__(self, client: Client, generated: Any) -> None:
        """Use :meth:`Client.conversation_list`."""
        self._client = client
        self._native = generated

    @property
    def needs_loading(self) -> bool:
        """Whether it has to be loaded."""
        needs: bool = self._native.needs_loading()
        return needs

    async def load(self) -> None:
        """Loads all of it, page by page. Until that is done it shows what it showed before.

        :raises RequestError: It still needs loading.
        """
        await call(self._native.load(self._client._native))

    def conversations(self) -> list[t.ListedConversation]:
        """The conversations: pinned ones first, then by their last messages, newest first."""
        return list(to_python(self._native.conversations()))

    def get(self, of: str | t.Recipient) -> t.ListedConversation | None:
        """A conversation, also if it is hidden."""
        listed: t.ListedConversation | None = to_python(self._native.get(bridge.recipient(of)))
        return listed

    def unread(self, at: datetime | None = None) -> t.Unread:
        """Unread messages in all conversations that are in the list and not muted, now or at a time."""
        ms = bridge.unix_ms(at)
        unread: t.Unread = to_python(self._native.unread() if ms is None else self._native.unread_at(ms))
        return unread


class Timeline:
    """Takes messages and changes as they come, in any order and any number of times, and says what is to be shown to a user."""

    def __init__(self, user: str) -> None:
        """:raises InvalidContent: That is no user id."""
        self._native = call_sync(native.Timeline, user)

    def apply(self, message: t.Message) -> int | None:
        """Takes a message, of an event or of history. Returns the id of the one that looks different now."""
        changed: int | None = call_sync(self._native.apply, to_native(message))
        return changed

    def get(self, id: int) -> t.ShownMessage | None:
        """A message, if it has come."""
        shown: t.ShownMessage | None = to_python(self._native.get(id))
        return shown

    def messages(self) -> list[t.ShownMessage]:
        """All messages that have come, in the order of their log."""
        return list(to_python(self._native.messages()))

    @property
    def waiting(self) -> int:
        """How many changes wait for messages that have not come."""
        count: int = self._native.waiting()
        return count

    @property
    def horizon(self) -> int | None:
        """Messages up to this one are forgotten, and are not taken any more."""
        id: int | None = self._native.horizon()
        return id

    def forget_through(self, id: int) -> None:
        """Forgets messages up to this one, and what was done to them."""
        self._native.forget_through(id)
