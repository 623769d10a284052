"""The back-end half on a server in this process."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from conftest import PATIENCE, eventually, message, until, world

from im_sdk import (
    BackendError,
    Channel,
    ConversationChange,
    Custom,
    Disconnected,
    Edit,
    HistoryRange,
    Message,
    PublishError,
    PublishFailed,
    Reaction,
    RequestError,
    Stopped,
    Terminal,
    Typing,
    User,
)
from im_sdk.backend import (
    AckOutcome,
    Acked,
    BackendConfig,
    ChangeRequest,
    Durability,
    EmbeddedServer,
    Handler,
    IncomingSignal,
    JoinRoom,
    Logged,
    Marked,
    MayReach,
    MayRequest,
    MayWatch,
    OutgoingMessage,
    PresenceEvent,
    Priority,
    Publish,
    ReachKind,
    Refusal,
    RequestedHistory,
    ServiceCalls,
    TokenMinter,
    random_secret,
)


async def test_a_send_has_a_receipt_and_is_sent_once_under_its_key() -> None:
    async with world() as here:
        bob = await here.device("bob", terminal=Terminal.WEB, device_id="b1")
        receipt = await here.backend.send(["bob", "carol"], "hi", from_user="alice", idempotency_key="order-1")
        delivery = receipt.delivery
        assert delivery.message_id == receipt.message_id
        assert [(device.user, device.device) for device in delivery.pushed] == [("bob", "web/b1")]
        assert (delivery.offline, delivery.repeated, delivery.channel) == (("carol",), False, None)
        assert {place.user for place in delivery.logged} >= {"bob", "carol"}
        again = await here.backend.send(["bob", "carol"], "hi", from_user="alice", idempotency_key="order-1")
        assert (again.message_id, again.delivery.repeated) == (receipt.message_id, True)

        came = await message(bob, "hi")
        waiting = asyncio.create_task(here.backend.wait_acked(receipt, PATIENCE))
        bob.ack(came)
        report = await waiting
        assert report.outcome == AckOutcome.ACKED
        assert [(device.user, device.device) for device in report.devices] == [("bob", "web/b1")]

        with pytest.raises(BackendError) as conflict:
            await here.backend.send(["bob", "carol"], "something else", from_user="alice", idempotency_key="order-1")
        assert conflict.value.code == "conflict" and not conflict.value.retryable
        with pytest.raises(BackendError) as invalid:
            await here.backend.send("no user", "hi")
        assert not invalid.value.retryable


async def test_a_send_that_is_cancelled_goes_on_and_is_sent_once() -> None:
    async with world() as here:
        for number in range(40):
            task = asyncio.create_task(here.backend.send("bob", str(number), from_user="alice"))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        started = {str(number) for number in range(40) if number % 4}

        async def sent() -> list[str]:
            page = await here.backend.history("bob", "alice", HistoryRange(after=0), 200)
            return [entry.text or "" for entry in page.messages]

        await eventually(lambda: _is(sent(), started))
        assert len(await sent()) == len(started)


async def _is(texts: object, expected: set[str]) -> bool:
    return set(await texts) == expected  # type: ignore[misc]


async def test_many_messages_are_sent_at_once() -> None:
    async with world() as here:
        bob = await here.device("bob")
        messages = [OutgoingMessage(to="bob", said=str(number), from_user="alice") for number in range(200)]
        messages[7] = OutgoingMessage(to="no user", said="7")
        results = await here.backend.send_many(messages)
        error = results.pop(7)
        assert isinstance(error, BackendError) and not error.retryable
        ids = [result for result in results if isinstance(result, int)]
        assert len(set(ids)) == 199 and 0 not in ids
        came: set[int] = set()
        while len(came) < 199:
            came |= {event.id for event in await bob.next_events() if isinstance(event, Message)}
        assert came == set(ids)


async def test_a_service_is_pulled_and_answers() -> None:
    async with world(serving=False) as here:
        alice, bob = here.open("alice"), here.open("bob")
        alice.connect()
        bob.connect()
        async with await here.backend.serve() as service:

            async def decide() -> None:
                async for incoming in service:
                    assert isinstance(incoming, Publish)
                    match incoming.text:
                        case "hello":
                            assert incoming.accept(answer=b"taken")
                            assert not incoming.accept(), "it was answered before"
                        case "spam":
                            incoming.refuse("no spam, please", 7)
                        case "redirect":
                            incoming.send(OutgoingMessage(to="bob", said="instead"))
                        case _:
                            incoming.handled(answer=b"nothing to send")

            deciding = asyncio.create_task(decide())
            assert (await alice.send_and_wait("bob", "hello")).answer == b"taken"
            with pytest.raises(PublishError) as refused:
                await alice.send_and_wait("bob", "spam")
            assert (refused.value.rule_code, refused.value.reason) == (7, "no spam, please")
            await alice.send_and_wait("bob", "redirect")
            handled = await alice.send_and_wait("bob", "just so")
            assert (handled.message_id, handled.answer) == (None, b"nothing to send")
            assert (await message(bob, "hello")).from_user == "alice"
            assert (await message(bob, "instead")).from_user == "alice"
            await service.shutdown()
            await deciding


async def test_what_is_not_answered_is_asked_again() -> None:
    """A handler that fails, a call that is dropped and a refusal for now: the device sends again, and the message arrives once."""

    class Failing(Handler):
        def __init__(self) -> None:
            self.asked: list[str] = []

        async def publish(self, incoming: Publish) -> None:
            text = incoming.text or ""
            self.asked.append(text)
            if self.asked.count(text) > 1:
                incoming.accept()
            elif text == "bug":
                raise ValueError("a bug")
            elif text == "later":
                raise Refusal("the database does not answer", retry_after=0.1)

    handler = Failing()
    async with world(handler) as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        for text in ("bug", "later", "forgotten"):
            await alice.send_and_wait("bob", text)
        assert handler.asked == ["bug", "bug", "later", "later", "forgotten", "forgotten"]
        assert [(await until(bob, Message)).text for _ in range(3)] == ["bug", "later", "forgotten"]


async def test_every_kind_of_call_reaches_the_handler() -> None:
    class All(Handler):
        def __init__(self) -> None:
            self.seen: list[object] = []

        async def publish(self, incoming: Publish) -> None:
            self.seen.append(incoming)
            incoming.accept()

        async def join_room(self, join: JoinRoom) -> None:
            self.seen.append(join)
            join.welcome(answer=join.data, recent=5)

        async def may_reach(self, reach: MayReach) -> None:
            self.seen.append(reach)
            if reach.from_user == "eve":
                raise Refusal("you are blocked", 3)
            reach.grant()

        async def signal(self, signal: IncomingSignal) -> None:
            self.seen.append(signal)
            signal.relay()

        async def presence(self, event: PresenceEvent) -> None:
            self.seen.append(event)

        async def may_watch(self, watch: MayWatch) -> None:
            self.seen.append(watch)
            watch.allow(["bob"])

        async def change(self, change: ChangeRequest) -> None:
            self.seen.append(change)
            change.grant()

        async def may_request(self, request: MayRequest) -> None:
            self.seen.append(request)
            if request.kind == "search":
                raise Refusal("search is for subscribers", 402)
            request.allow()

        async def logged(self, message: Logged) -> None:
            self.seen.append(message)

        async def acked(self, ack: Acked) -> None:
            self.seen.append(ack)

        async def marked(self, marked: Marked) -> None:
            self.seen.append(marked)

        def of(self, kind: type) -> list[object]:
            return [call for call in self.seen if isinstance(call, kind)]

    handler = All()
    async with world(handler) as here:
        alice, bob = await here.device("alice"), await here.device("bob")
        eve = await here.device("eve")
        await alice.send_and_wait("bob", "hi")
        came = await message(bob, "hi")
        with pytest.raises(PublishError) as blocked:
            await eve.send_and_wait("bob", "hi")
        assert blocked.value.rule_code == 3
        bob.ack(came)
        await bob.mark_read("alice", came)
        assert await bob.signal("alice", Typing())
        assert [presence.user for presence in await alice.watch(["bob", "eve"])] == ["bob"]
        assert (await alice.join_room("lobby", b"me")).answer == b"me"
        reference = came.ref("bob")
        assert reference is not None
        await bob.change_and_wait(reference, Reaction("👍"))
        await bob.history("alice")
        with pytest.raises(RequestError) as paid:
            await bob.search("hi")
        assert paid.value.rule_code == 402
        for kind in (PresenceEvent, Acked, Marked, Logged, IncomingSignal, MayWatch, JoinRoom, ChangeRequest):
            await eventually(partial(handler.of, kind))
        (publish,) = [call for call in handler.of(Publish)]
        assert isinstance(publish, Publish)
        assert (publish.from_user, publish.to, publish.text, publish.changed) == ("alice", User("bob"), "hi", None)
        (logged, *_) = handler.of(Logged)
        assert isinstance(logged, Logged)
        assert (logged.message_id, logged.repeated) == (came.id, False)
        assert ("bob", came.position.seq if came.position else 0) in [(place.user, place.seq) for place in logged.places]
        (acked, *_) = handler.of(Acked)
        assert isinstance(acked, Acked) and acked.user == "bob" and acked.place.user == "bob"
        (marked, *_) = handler.of(Marked)
        assert isinstance(marked, Marked) and marked.state.conversation == User("alice")
        assert ReachKind.MESSAGE in [call.kind for call in handler.of(MayReach) if isinstance(call, MayReach)]
        requests = [call.details for call in handler.of(MayRequest) if isinstance(call, MayRequest)]
        assert RequestedHistory(User("alice")) in requests
        (change,) = handler.of(ChangeRequest)
        assert isinstance(change, ChangeRequest) and change.kind == Reaction("👍") and change.message.text == "hi"


async def test_a_service_gets_only_what_it_wants_and_leaves_nothing_hanging() -> None:
    async with world(serving=False) as here:
        alice = here.open("alice")
        alice.connect()
        async with await here.backend.serve(ServiceCalls(join_room=True)) as service:
            joining = asyncio.create_task(alice.join_room("lobby"))
            join = await service.__anext__()
            assert isinstance(join, JoinRoom) and (join.user, join.room) == ("alice", "lobby")
            # A call that is dropped without an answer is refused for now: the device asks again.
            del join
            again = await asyncio.wait_for(service.__anext__(), PATIENCE)
            assert isinstance(again, JoinRoom)
            again.welcome(answer=b"at last")
            assert (await joining).answer == b"at last"
            sent = await alice.send("bob", "left behind")
            await service.__anext__()
        # The service is gone; another one takes it.
        async with here.backend.handle(Handler()):
            assert (await asyncio.wait_for(sent.outcome(), PATIENCE)).message_id is not None


async def test_groups() -> None:
    async with world() as here:
        team = here.backend.channel("team")
        await team.add_members("alice", "bob", "carol")
        assert await team.members() == ["alice", "bob", "carol"]
        assert await team.members("alice", 1) == ["bob"]
        await team.remove_members("carol")
        assert (await team.is_member("alice"), await team.is_member("carol")) == (True, False)
        assert await here.backend.channels("alice") == ["team"]
        bob = await here.device("bob")
        receipt = await team.send("to all", from_user="alice")
        came = await message(bob, "to all")
        assert receipt.delivery.channel is not None
        assert (receipt.delivery.channel.channel, receipt.delivery.channel.connections) == ("team", 1)
        assert came.position is not None and receipt.delivery.channel.seq == came.position.seq
        assert await team.online() == 1
        assert [entry.text for entry in (await team.history()).messages] == ["to all"]
        assert (await team.readers(came.position.seq)).count == 0
        await here.backend.change(Channel("team"), came.id, Edit(came.content))
        assert (await until(bob, Message)).channel == "team"
        await team.dissolve()
        assert await here.backend.channels("alice") == []
        with pytest.raises(BackendError) as invalid:
            await here.backend.channel("no channel").members()
        assert invalid.value.code == "invalid_id"


async def test_rooms_and_broadcasts() -> None:
    class Open(Handler):
        async def join_room(self, join: JoinRoom) -> None:
            join.welcome(recent=2)

    async with world(Open()) as here:
        room = here.backend.room("lobby")
        await room.send("earlier", durability=Durability.LOGGED)
        alice = await here.device("alice")
        joined = await alice.join_room("lobby")
        assert [entry.text for entry in joined.recent] == ["earlier"]
        await room.send("rose", priority=Priority.LOW)
        await message(alice, "rose")
        await room.count("like", 2)
        await room.count("like", 3)
        likes = await until(alice, Message, lambda came: isinstance(came.content.body, Custom))
        assert likes.content.body == Custom("like", b"5")
        broadcast = await here.backend.broadcast("maintenance at noon")
        assert broadcast.connections == 1
        await message(alice, "maintenance at noon")
        await room.close("see you")


async def test_history_search_and_conversations_of_users(tmp_path: Path) -> None:
    config = BackendConfig(message_store=f"sqlite://{tmp_path}/messages.db?mode=rwc", system_user="shop")
    async with world(config=config) as here:
        backend = here.backend
        first = await backend.send("bob", "lunch on monday?", from_user="alice")
        await backend.send("bob", "your order is on its way")
        page = await backend.history("bob", "alice")
        assert [(entry.id, entry.from_user, entry.text) for entry in page.messages] == [
            (first.message_id, "alice", "lunch on monday?")
        ]
        assert len((await backend.raw_history("bob", "alice")).messages) == 1

        async def found() -> list[int]:
            return [entry.id for entry in (await backend.search("bob", "monday")).messages]

        await eventually(lambda: found())
        assert await found() == [first.message_id]
        assert (await backend.message(first.message_id)).text == "lunch on monday?"
        assert (await backend.message_in("bob", "alice", first.message_id)).to_user == "bob"
        listed = (await backend.conversations("bob")).conversations
        assert {conversation.state.conversation for conversation in listed} == {User("alice"), User("shop")}
        assert (await backend.unread("bob")).count == 2
        state = await backend.set_conversation("bob", "alice", ConversationChange(muted=True))
        assert state.muted
        conversation = await backend.conversation("bob", "alice")
        assert conversation is not None and (conversation.unread, conversation.state.muted) == (1, True)
        await backend.recall(first.message_id)
        recalled = await backend.conversation("bob", "alice")
        assert recalled is not None and recalled.last_recalled is not None
        with pytest.raises(BackendError) as missing:
            await backend.message_in("bob", "alice", first.message_id + 1)
        assert missing.value.code == "no_such_message"


async def test_presence_and_kicks() -> None:
    async with world() as here:
        bob = await here.device("bob", device_id="b1")
        assert [presence.online for presence in await here.backend.presence(["bob", "carol"])] == [True, False]
        online = await here.backend.online(["bob", "carol"])
        assert [device.device for device in online["bob"]] == ["desktop/b1"] and "carol" not in online
        (server,) = await here.backend.endpoints()
        assert list(server.addresses) == here.server.endpoints
        health = await here.backend.health()
        assert health.ready and health.servers == (server.server,)
        assert await here.backend.kick("bob", "desktop/other") == 0
        assert await here.backend.kick("bob", "desktop/b1", "bye") == 1
        gone: Disconnected | Stopped = await until(bob, (Disconnected, Stopped))
        assert gone.reason


async def test_tokens() -> None:
    secret = random_secret()
    assert len(secret) == 32
    async with world(secret=secret, issuer="shop", audience="chat") as here:
        minter = TokenMinter.hs256("embedded", secret, "shop", "chat")
        await here.device("alice", token=minter.mint("alice", timedelta(minutes=5)))
        with pytest.raises(BackendError) as short:
            TokenMinter.hs256("k1", b"short", "shop", "chat")
        assert short.value.code == "invalid_key"
        with pytest.raises(BackendError):
            TokenMinter.es256("k1", "not a key", "shop", "chat")
        with pytest.raises(BackendError) as no_user:
            minter.mint("no user", 60)
        assert no_user.value.code == "invalid_id"


async def test_messages_and_members_are_kept_in_a_file(tmp_path: Path) -> None:
    async with world(data=str(tmp_path / "im.db")) as here:
        await here.backend.channel("team").add_members("alice")
        await here.backend.send("bob", "kept", from_user="alice")

    async def start() -> EmbeddedServer | None:
        try:
            return await EmbeddedServer.start(data=str(tmp_path / "im.db"))
        except BackendError as error:
            # The threads that write the file end a moment after the server.
            assert "already open" in error.reason
            return None

    server: EmbeddedServer = await eventually(start)
    async with server, await server.connect_backend() as backend:
        assert await backend.channel("team").members() == ["alice"]
        assert [entry.text for entry in (await backend.history("bob", "alice")).messages] == ["kept"]


async def test_a_refusal_for_good_stays_a_failure() -> None:
    class No(Handler):
        async def publish(self, incoming: Publish) -> None:
            incoming.refuse("no", 5)

    async with world(No()) as here:
        alice = await here.device("alice")
        await alice.send("bob", "hi")
        failed = await until(alice, PublishFailed)
        assert (failed.code, failed.rule_code, failed.retryable) == ("refused", 5, False)
