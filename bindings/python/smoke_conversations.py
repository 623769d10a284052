"""What smoke.py does with conversations and with changes to messages: everything that the bindings have for them, once."""

import asyncio


class Failure(Exception):
    """What is not as it should be."""


def check(is_so, what):
    """Says what is not as it should be."""
    if not is_so:
        raise Failure(what)


class Two:
    """Two devices: who sends and who receives, and how to wait for their events."""

    # pylint: disable=too-many-arguments,too-many-positional-arguments
    def __init__(self, im, arguments, sender, receiver, wait_for):
        self.im, self.sender, self.receiver = im, sender, receiver
        self.sending, self.receiving = arguments.from_user, arguments.to_user
        self.channel, self.timeout, self.wait_for = arguments.channel, arguments.timeout, wait_for
        self.with_sender = im.Recipient.USER(self.sending)
        self.with_receiver = im.Recipient.USER(self.receiving)

    async def message(self, client, message_id):
        """The message with this id, as it comes in."""

        def wanted(event):
            return event.message if event.is_message() and event.message.id == message_id else None

        return await self.wait_for(client, wanted, f"message {message_id}", self.timeout)

    async def state(self, client, conversation, wanted, what):
        """The state of a conversation, once it is as wanted."""

        def found(event):
            states = event.states if event.is_conversations_changed() else []
            return next((state for state in states if state.conversation == conversation and wanted(state)), None)

        return await self.wait_for(client, found, what, self.timeout)

    async def until(self, client, wanted, what):
        """Takes events until something holds."""
        if not wanted():
            await self.wait_for(client, lambda event: True if wanted() else None, what, self.timeout)

    async def say(self, text):
        """A text from the sender; as both see it."""
        published = await self.sender.send_and_wait(self.with_receiver, self.im.text_content(text))
        sent = await self.message(self.sender, published.message_id)
        return sent, await self.message(self.receiver, published.message_id)


async def all_of_it(two, run):
    """Everything, one after the other."""
    items = two.receiver.conversation_list(two.receiving)
    check(items.needs_loading(), "a new list needs no loading")
    await items.load(two.receiver)
    check(not items.needs_loading(), "a list that was loaded needs loading")
    await marks(two, items, run)
    await settings(two, run)
    await changes(two, items, run)
    await errors(two)
    if two.channel:
        await readers(two, run)


async def marks(two, items, run):
    """What is read on one device is read on the other's side, too."""
    _, message = await two.say(f"unread {run}")
    listed = items.get(two.with_sender)
    check(listed.last.id == message.id and message.id in listed.unread_ids, f"the message is not unread: {listed}")
    check(items.unread().count >= 1 and not items.unread().more, f"wrong sum: {items.unread()}")
    await two.receiver.mark_read(two.with_sender, message.position)
    seq = message.position.seq
    await two.state(two.receiver, two.with_sender, lambda state: state.read.seq == seq, "the mark")
    check(items.get(two.with_sender).unread == 0, "what was read is unread")
    read = await two.state(two.sender, two.with_receiver, lambda state: state.peer_read == message.id, "the receipt")
    print(f"  {read.conversation.user} has read {read.peer_read}")


async def settings(two, run):
    """Pinned, muted, draft, hidden, deleted."""
    im, client, conversation = two.im, two.receiver, two.with_sender
    _, message = await two.say(f"to be hidden {run}")
    seq = message.position.seq

    async def change(what, wanted, **values):
        await client.set_conversation(conversation, im.ConversationChange(**values))
        return await two.state(client, conversation, wanted, what)

    async def shown():
        page = await client.conversations(0, 0)
        return [listed for listed in page.conversations if listed.state.conversation == conversation]

    draft = f"Dear {run}"
    await change("a draft", lambda state: state.draft == draft, pinned=True, muted=True, draft=draft)
    first = (await shown())[0].state
    check(first.pinned and first.muted and first.draft == draft, f"not what was set: {first}")
    await change("hidden", lambda state: state.hidden == seq, hidden=seq, read=im.ReadMark(seq=seq))
    check(await shown() == [], "what is hidden is shown")
    await change("shown again", lambda state: state.hidden == 0, hidden=0, pinned=False, muted=False, draft="")
    check((await shown())[0].last.id == message.id, "what is not hidden any more is not shown")
    await change("deleted", lambda state: state.deleted == seq, deleted=seq)
    page = await client.history(im.Conversation.USER(two.sending), im.HistoryRange.NEWEST(), 5)
    check(await shown() == [] and page.messages == [], f"what is deleted is shown: {page}")
    print(f"  pinned, muted, hid and deleted the conversation up to {seq}")


async def changes(two, items, run):
    """All changes to messages, and what a list makes of them."""
    im = two.im
    sent, received = await two.say(f"helo {run}")
    of_sender, of_receiver = im.message_ref(sent, two.sending), im.message_ref(received, two.receiving)
    timeline = im.Timeline(two.receiving)
    timeline.apply(received)
    hello = im.text_content(f"hello {run}")
    await two.sender.edit(of_sender, hello)
    await two.until(two.receiver, lambda: items.get(two.with_sender).last.content == hello, "the edit in the list")
    check(items.get(two.with_sender).last_edit is not None, "the edit is not named")

    async def changed(attempt, wanted, what):
        await attempt

        def looks_so(event):
            if event.is_message():
                timeline.apply(event.message)
            return True if wanted(timeline.get(received.id)) else None

        await two.wait_for(two.receiver, looks_so, what, two.timeout)

    client, seen = two.receiver, im.Reaction(emoji="👀", users=[two.receiving])
    await changed(client.react(of_receiver, "👀"), lambda shown: shown.reactions == [seen], "a reaction")
    await changed(client.unreact(of_receiver, "👀"), lambda shown: shown.reactions == [], "none any more")
    await changed(client.pin(of_receiver), lambda shown: shown.pinned, "pinned")
    await changed(client.unpin(of_receiver), lambda shown: not shown.pinned, "not pinned any more")
    check(timeline.waiting() == 0 and timeline.horizon() is None, "changes wait for what has come")
    taken = await two.sender.change_and_wait(of_sender, im.ChangeKind.RECALL())
    await two.until(client, lambda: items.get(two.with_sender).last_recalled is not None, "the recall in the list")
    listed = items.get(two.with_sender)
    recalled = im.Recalled(change=taken.message_id, by_user=two.sending)
    check(listed.last_recalled == recalled and listed.unread == 0, f"what was recalled counts: {listed}")
    timeline.forget_through(received.id)
    check(timeline.horizon() == received.id, "what was forgotten is not")

    sent, received = await two.say(f"not for me {run}")
    await client.delete_for_me(im.message_ref(received, two.receiving))
    await two.until(client, items.needs_loading, "that it is not known what is the last message now")
    await items.load(client)
    check(items.get(two.with_sender).last.id != received.id, "what was deleted is shown")
    await two.sender.recall(im.message_ref(sent, two.sending))
    print(f"  edited, recalled and deleted {received.id}, and what came before it")


async def errors(two):
    """What is refused at once."""
    im, client = two.im, two.receiver
    long, nobody = im.ConversationChange(draft="x" * 2000), im.Recipient.USER("no user")
    for attempt, kind, code in [
        (client.set_conversation(two.with_sender, long), im.MarkError, "draft_too_long"),
        (client.set_conversation(nobody, im.ConversationChange(pinned=True)), im.MarkError, "invalid_id"),
        (client.readers("no channel", 1, 1), im.RequestError, "invalid_id"),
    ]:
        try:
            await attempt
        except kind as error:
            check(error.code() == code, f"expected {code}, not {error.code()}")
        else:
            raise Failure(f"expected {code}")


async def readers(two, run):
    """In a channel of few members all learn who has read."""
    conversation = two.im.Recipient.CHANNEL(two.channel)
    published = await two.sender.send_and_wait(two.im.Recipient.CHANNEL(two.channel), two.im.text_content(f"to all {run}"))
    message = await two.message(two.receiver, published.message_id)
    await two.receiver.mark_read(conversation, message.position)
    receipt = await two.wait_for(
        two.sender, lambda event: event.receipt if event.is_channel_read() else None, "a receipt", two.timeout
    )
    check((receipt.channel, receipt.user, receipt.id) == (two.channel, two.receiving, message.id), f"{receipt}")

    async def have_read():
        while two.receiving not in (found := await two.sender.readers(two.channel, message.position.seq, 10)).users:
            await asyncio.sleep(0.05)
        return found

    found = await asyncio.wait_for(have_read(), two.timeout)
    print(f"  {found.count} have read {message.id} in {two.channel}")
