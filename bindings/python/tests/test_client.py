"""The client against a server and a back end in this process."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, eventually, message, until, world

from im_sdk import (
    Body,
    Card,
    Channel,
    Client,
    ClientConfig,
    Connected,
    Content,
    ConversationChange,
    ConversationsChanged,
    Custom,
    Disconnected,
    Event,
    File,
    HistoryRange,
    Image,
    Inbox,
    InvalidContent,
    Location,
    Media,
    Message,
    OpenError,
    Published,
    PresenceChanged,
    PublishError,
    PublishFailed,
    RequestError,
    Reset,
    RoomLeft,
    RoomLeftCause,
    SendError,
    SendState,
    ShownReaction,
    SignalReceived,
    State,
    Stopped,
    Timeline,
    TokenDenied,
    TokenRequest,
    TokenUnavailable,
    Transport,
    Typing,
    User,
    Video,
    Voice,
    log_to,
)
from im_sdk.backend import Handler, JoinRoom, MayReach, MayWatch, Publish, Refusal


@pytest.mark.parametrize("transport", ["websocket", "quic"])
async def test_messages_arrive_and_are_found_again(transport: str) -> None:
    listen: dict[str, Any] = {"websocket": None, "quic": "127.0.0.1:0"} if transport == "quic" else {}
    async with world(**listen) as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        sent = await alice.send_and_wait("bob", "lunch?")
        came = await message(bob, "lunch?")
        assert (came.id, came.from_user, came.to_user, came.channel) == (sent.message_id, "alice", "bob", None)
        assert came.transport == (Transport.QUIC if transport == "quic" else Transport.WEB_SOCKET)
        assert came.position is not None and came.position.channel == ""
        assert abs(came.sent_at.timestamp() - time.time()) < 3600
        bob.ack(came)

        page = await bob.history("alice", limit=10)
        assert [entry.id for entry in page.messages] == [came.id]
        assert page.messages[0].content == came.content
        older = await bob.history(User("alice"), HistoryRange(before=came.position.seq), 10)
        assert (older.messages, older.next) == ((), None)
        assert [entry.id for entry in (await bob.raw_history(Inbox(), HistoryRange(after=0))).messages][-1] == came.id

        reference = came.ref("bob")
        assert reference is not None
        timeline = Timeline("bob")
        timeline.apply(came)
        await bob.react(reference, "👍")
        while (shown := timeline.get(came.id)) is None or not shown.reactions:
            timeline.apply(await until(bob, Message))
        assert shown.reactions == (ShownReaction("👍", ("bob",)),)
        assert [entry.id for entry in timeline.messages()] == [came.id]

        await bob.send("alice", Content(Custom("answer", b"\x00\xff"), quote=came.quote()))
        answer = await until(alice, Message, lambda came: came.content.quote is not None)
        assert answer.content.body == Custom("answer", b"\x00\xff")
        assert answer.content.quote is not None and answer.content.quote.verified
        assert answer.content.quote.excerpt == "lunch?"

        assert await bob.signal("alice", Typing())
        signal = await until(alice, SignalReceived)
        assert (signal.from_user, signal.signal) == ("bob", Typing())


async def test_every_kind_of_content_arrives_as_it_was_sent() -> None:
    media = Media("https://files.example/1", "image/png", 7, bytes(range(32)), "cat.png")
    kinds: list[Body] = [
        Image(media, 4, 3, Media("https://files.example/2"), "a cat"),
        File(media, "notes"),
        Voice(media, 2.5, b"\x01\x02"),
        Video(media, 90.0, 16, 9, None, "a film"),
        Location(525_200_000, 134_050_000, "Berlin"),
        Card("link", "1", "A title", "text", "https://example.org", media),
        Custom("order.paid", b"42"),
    ]
    async with world() as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        for body in kinds:
            content = Content(body, mentions=["bob"], silent=True)
            await alice.send_and_wait("bob", content)
            came = await until(bob, Message)
            assert came.content.body == body
            assert (list(came.content.mentions), came.content.silent) == (["bob"], True)


async def test_events_that_are_not_taken_stay_for_the_next_taker() -> None:
    """Takers are cancelled at every moment, and loops are left: nothing is lost, doubled or shuffled."""
    async with world() as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        count = 400
        sending = asyncio.create_task(_send_all(alice, count))
        # Whoever takes no events hears of no outcomes.
        draining = asyncio.create_task(_drain(alice))
        texts: list[str] = []

        async def take_some() -> None:
            async for event in bob.events():
                if isinstance(event, Message):
                    texts.append(event.text or "")
                if len(texts) % 7 == 3:
                    break

        async def take_a_batch(most: int) -> None:
            for event in await bob.next_events(most):
                if isinstance(event, Message):
                    texts.append(event.text or "")

        turn = 0
        while len(texts) < count:
            turn += 1
            taker = asyncio.create_task(take_some() if turn % 2 else take_a_batch(turn % 5))
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            if turn % 3:
                taker.cancel()
            done, _ = await asyncio.wait([taker], timeout=0.5)
            if not done:
                taker.cancel()
                await asyncio.wait([taker])
        await sending
        draining.cancel()
        assert texts == [str(number) for number in range(count)]


async def _drain(client: Client) -> None:
    while await client.next_events():
        pass


async def _send_all(client: Client, count: int) -> None:
    for number in range(count):
        await client.send("bob", str(number))


async def test_a_send_that_is_cancelled_goes_on_and_is_sent_once() -> None:
    async with world() as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        for number in range(50):
            task = asyncio.create_task(alice.send("bob", str(number)))
            for _ in range(number % 6):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await alice.send("bob", "last")
        texts: list[str] = []
        while "last" not in texts:
            texts += [event.text or "" for event in await bob.next_events() if isinstance(event, Message)]
        started = [text for text in texts if text != "last"]
        assert len(set(started)) == len(started), "something came twice"
        # A task that was cancelled before its first step has done nothing; every other one has sent.
        assert set(started) == {str(number) for number in range(50) if number % 6}


async def test_a_send_is_shown_before_it_comes_back_and_survives_a_restart(tmp_path: Path) -> None:
    store = str(tmp_path / "alice.db")
    async with world() as here:
        bob = await here.device("bob")
        alice = here.open("alice", device_id="phone", store_path=store)
        sent = await alice.send("bob", "from the tunnel")
        (unsettled,) = await alice.unsettled_sends()
        assert (unsettled.handle, unsettled.to) == (sent, User("bob"))
        assert (unsettled.content.text, unsettled.state, unsettled.failure) == ("from the tunnel", SendState.PENDING, None)
        await alice.shutdown()
        with pytest.raises(PublishError) as unconfirmed:
            await sent.outcome()
        assert unconfirmed.value.code in ("unconfirmed", "closed")

        alice = here.open("alice", device_id="phone", store_path=store)
        assert [send.handle.local_id for send in await alice.unsettled_sends()] == [sent.local_id]
        alice.connect()
        published = await until(alice, Published)
        assert published.local_id == sent.local_id
        assert (await message(bob, "from the tunnel")).id == published.message_id
        assert await alice.unsettled_sends() == []
        # Its own device gets it, too, under the id that it was shown by.
        echo = await eventually(lambda: alice.history("bob", limit=1))
        assert echo.messages[0].id == published.message_id


async def test_the_own_message_names_the_send() -> None:
    async with world() as here:
        alice = await here.device("alice")
        sent = await alice.send("bob", "hi")
        echo = await message(alice, "hi")
        assert (echo.local_id, echo.from_user) == (sent.local_id, "alice")
        assert (await sent.outcome()).message_id == echo.id


async def test_a_refused_send_is_kept_retried_and_discarded() -> None:
    class NoSpam(Handler):
        async def publish(self, incoming: Publish) -> None:
            if incoming.text == "spam":
                raise Refusal("no spam, please", 7)
            incoming.accept(text=(incoming.text or "").upper(), answer=b"done")

    async with world(NoSpam()) as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        result = await alice.send_and_wait("bob", "hello")
        assert result.answer == b"done"
        await message(bob, "HELLO")
        with pytest.raises(PublishError, match="no spam, please") as refused:
            await alice.send_and_wait("bob", "spam")
        assert (refused.value.code, refused.value.rule_code, refused.value.retryable) == ("refused", 7, False)
        sent = await alice.send("bob", "spam")
        failed = await until(alice, PublishFailed)
        assert (failed.local_id, failed.rule_code) == (sent.local_id, 7)
        (unsettled,) = await alice.unsettled_sends()
        assert unsettled.state == SendState.FAILED
        assert unsettled.failure is not None and unsettled.failure.rule_code == 7
        again = await unsettled.handle.retry()
        assert again.local_id != sent.local_id
        failed = await until(alice, PublishFailed)
        assert failed.local_id == again.local_id
        assert await again.discard()
        assert await alice.unsettled_sends() == []


async def test_conversations_drafts_and_read_marks() -> None:
    async with world() as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        listed = bob.conversation_list("bob")
        assert listed.needs_loading
        await listed.load()
        await alice.send_and_wait("bob", "one")
        await alice.send_and_wait("bob", "two")
        two = await message(bob, "two")
        (conversation,) = listed.conversations()
        assert (conversation.state.conversation, conversation.unread) == (User("alice"), 2)
        assert (listed.unread().count, conversation.last) == (2, two)
        await bob.set_conversation("alice", ConversationChange(draft="three", pinned=True))
        await bob.mark_read("alice", two)
        changed = await until(bob, ConversationsChanged, lambda changed: changed.states[0].read.seq > 0)
        assert (changed.states[0].draft, changed.states[0].pinned) == ("three", True)
        shown = listed.get("alice")
        assert shown is not None and shown.unread == 0
        page = await bob.conversations()
        assert [one.state.draft for one in page.conversations] == ["three"]


async def test_groups_rooms_and_presence() -> None:
    class Rooms(Handler):
        async def join_room(self, join: JoinRoom) -> None:
            if join.room != "lobby":
                raise Refusal("there is no such room", 4)
            join.welcome(answer=b"be kind")

        async def may_watch(self, watch: MayWatch) -> None:
            watch.allow()

        async def may_reach(self, reach: MayReach) -> None:
            reach.grant()

    async with world(Rooms()) as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        await here.backend.channel("team").add_members("alice", "bob")
        await eventually(lambda: _can_send(alice, Channel("team"), "to all"))
        came = await message(bob, "to all")
        assert (came.channel, came.from_user) == ("team", "alice")
        assert came.position is not None and came.position.channel == "team"
        await bob.mark_read(Channel("team"), came)
        await eventually(lambda: _has_read(alice, "team", came, "bob"))

        joined = await alice.join_room("lobby")
        assert (joined.answer, joined.recent) == (b"be kind", ())
        with pytest.raises(RequestError, match="no such room") as refused:
            await alice.join_room("cellar")
        assert (refused.value.code, refused.value.rule_code) == ("refused", 4)
        await here.backend.room("lobby").send("hello, room")
        await message(alice, "hello, room")
        assert await here.backend.room("lobby").online() == 1
        assert await here.backend.room("lobby").kick("alice", "enough") == 1
        left = await until(alice, RoomLeft)
        assert (left.channel, left.cause, left.reason) == ("lobby", RoomLeftCause.KICKED, "enough")

        (presence,) = await alice.watch(["carol"])
        assert not presence.online
        await here.device("carol")
        changed = await until(alice, PresenceChanged)
        assert (changed.presence.user, changed.presence.online) == ("carol", True)


async def _can_send(client: Client, to: Channel, text: str) -> bool:
    try:
        await client.send_and_wait(to, text)
    except PublishError:
        return False
    return True


async def _has_read(client: Client, channel: str, came: Message, user: str) -> bool:
    assert came.position is not None
    return user in (await client.readers(channel, came.position.seq)).users


async def test_the_background_closes_the_file_and_the_foreground_goes_on(tmp_path: Path) -> None:
    store = str(tmp_path / "alice.db")
    async with world() as here:
        bob = await here.device("bob")
        alice = await here.device("alice", store_path=store)
        await alice.send("bob", "before")
        with pytest.raises(OpenError) as in_use:
            here.open("alice", store_path=store)
        assert in_use.value.code == "store"
        changing = asyncio.create_task(alice.state_changed(State.CONNECTED))
        assert await alice.entered_background(PATIENCE)
        assert await changing == State.DISCONNECTED
        assert alice.state == State.DISCONNECTED
        gone = await until(alice, Disconnected)
        assert gone.retry_in is None
        # The file is free: another process of the application could have it.
        other = Client.open(here.config("alice", store_path=store))
        await other.shutdown()
        alice.entered_foreground()
        await until(alice, Connected)
        alice.network_changed()
        alice.memory_pressure()
        await alice.send_and_wait("bob", "after")
        assert [(await until(bob, Message)).text for _ in range(2)] == ["before", "after"]


async def test_tokens_come_from_functions_and_coroutines() -> None:
    async with world() as here:
        asked: list[tuple[TokenRequest, bool]] = []
        loop_thread = threading.get_ident()

        async def token(request: TokenRequest) -> str:
            asked.append((request, threading.get_ident() == loop_thread))
            await asyncio.sleep(0)
            if len(asked) == 1:
                raise TokenUnavailable("try again")
            return here.server.token("alice")

        alice = here.open("alice", token=token)
        alice.connect()
        first = await until(alice, Disconnected)
        assert "try again" in first.reason and first.retry_in is not None
        connected = await until(alice, Connected)
        assert connected.user == "alice"
        assert asked == [(TokenRequest("first"), True)] * 2

        def denied(_: TokenRequest) -> str:
            raise TokenDenied("logged out")

        carol = here.open("carol", token=denied)
        carol.connect()
        stopped = await until(carol, Stopped)
        assert (stopped.cause, "logged out" in stopped.reason, carol.state) == ("token", True, State.STOPPED)
        carol.set_token(here.server.token("carol"))
        carol.connect()
        await until(carol, Connected)

        def broken(_: TokenRequest) -> str:
            raise ValueError("a bug")

        dave = here.open("dave", token=broken)
        dave.connect()
        assert "a bug" in (await until(dave, Disconnected)).reason


async def test_an_expired_token_is_asked_for_anew() -> None:
    async with world() as here:
        requests: list[TokenRequest] = []

        def token(request: TokenRequest) -> str:
            requests.append(request)
            # Far in the past, whatever the tolerance of clocks.
            return here.server.token("alice", 3600) if request.kind == "rejected" else "no.token.atall"

        alice = here.open("alice", token=token)
        alice.connect()
        await until(alice, Connected)
        assert [request.kind for request in requests] == ["first", "rejected"]
        assert requests[1].code is not None and requests[1].reason


async def test_endpoints_are_asked_for_when_the_known_ones_fail() -> None:
    async with world() as here:
        alice = here.open("alice", endpoints=["ws://127.0.0.1:9"], more_endpoints=lambda: here.server.endpoints)
        alice.connect()
        assert (await until(alice, Connected)).endpoint.startswith(here.server.endpoints[0])


async def test_errors_say_what_is_wrong() -> None:
    def config(**options: object) -> ClientConfig:
        defaults = {"endpoints": ["ws://127.0.0.1:9"], "token": "token", "device_id": "test"}
        return ClientConfig(**{**defaults, **options})  # type: ignore[arg-type]

    with pytest.raises(OpenError, match="endpoint") as no_endpoints:
        Client.open(config(endpoints=[]))
    assert no_endpoints.value.code == "no_endpoints"
    with pytest.raises(OpenError) as invalid:
        Client.open(config(endpoints=["http://127.0.0.1"]))
    assert invalid.value.code == "invalid_config"

    async with Client.open(config()) as client:
        with pytest.raises(SendError) as bad_id:
            await client.send("no user", "hi")
        assert bad_id.value.code == "invalid_id"
        with pytest.raises(InvalidContent):
            Timeline("no user")
        with pytest.raises(PublishError) as timed_out:
            await client.send_and_wait("bob", "hi", within=0.05)
        assert (timed_out.value.code, timed_out.value.retryable) == ("timed_out", True)
        sent = await client.send("bob", "hi")
        with pytest.raises(SendError) as not_failed:
            await sent.retry()
        assert not_failed.value.code == "not_failed"
        assert await sent.discard()
        with pytest.raises(PublishError) as discarded:
            await sent.outcome()
        assert discarded.value.code == "discarded"
    assert client.state == State.CLOSED
    with pytest.raises(RequestError) as closed:
        await client.history("bob")
    assert closed.value.code == "closed"
    rest: list[Event] = [event async for event in client.events()]
    assert all(not isinstance(event, (Message, Reset)) for event in rest)
    assert await client.next_events() == []


async def test_the_log_of_the_library_comes_to_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("im_sdk_test")
    assert log_to(logger, logging.WARNING)
    try:
        with caplog.at_level(logging.WARNING, "im_sdk_test"):
            client = Client.open(ClientConfig(endpoints=["ws://127.0.0.1:9"], token="token", device_id="test"))
            await client.send("bob", "hi")
            await eventually(lambda: any("call Client::connect" in record.getMessage() for record in caplog.records))
            await client.shutdown()
    finally:
        assert log_to(None)
