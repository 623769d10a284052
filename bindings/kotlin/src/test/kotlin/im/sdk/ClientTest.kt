package im.sdk

import app.cash.turbine.ReceiveTurbine
import app.cash.turbine.test
import java.nio.file.Path
import java.util.concurrent.ConcurrentLinkedQueue
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterAll
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.BeforeAll
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestInstance
import org.junit.jupiter.api.io.TempDir

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ClientTest {
    private lateinit var server: TestServer
    private val clients = ConcurrentLinkedQueue<Client>()

    @TempDir
    lateinit var folder: Path

    @BeforeAll
    fun startServer() {
        server = TestServer.open()
    }

    @AfterEach
    fun closeClients() {
        generateSequence(clients::poll).forEach(Client::close)
    }

    @AfterAll
    fun stopServer() = server.close()

    @Test
    fun `a message reaches the other user and the sender's own log, once each`() = testing {
        val alice = connect("alice")
        val bob = connect("bob")
        alice.events.test(timeout = PATIENCE) {
            val sent = alice.send(Recipient.User("bob"), "hello")
            val published = sent.outcome()
            val own = awaitMessage("hello")
            assertEquals(published.messageId, own.id)
            assertEquals(sent.localId, own.localId)
            cancelAndIgnoreRemainingEvents()
        }
        bob.events.test(timeout = PATIENCE) {
            val message = awaitMessage("hello")
            assertEquals("alice", message.fromUser)
            assertNull(message.localId, "for others it is not known")
            assertTrue(System.currentTimeMillis() - message.sentAtMillis in -60_000..60_000)
            bob.ack(assertNotNull(message.position))
            cancelAndIgnoreRemainingEvents()
        }
    }

    @Test
    fun `the state is told as it changes`() = testing {
        val client = open("carol")
        client.state.test(timeout = PATIENCE) {
            assertEquals(State.DISCONNECTED, awaitItem())
            client.connect()
            awaitUntil(State.CONNECTED)
            assertEquals(Transport.WEB_SOCKET, client.transport)
            client.disconnect()
            awaitUntil(State.DISCONNECTED)
            assertNull(client.transport)
            client.shutdown()
            awaitUntil(State.CLOSED)
        }
        assertEquals(State.CLOSED, client.state.value)
        assertEquals("closed", assertFailsWith<SendException> { client.send(Recipient.User("bob"), "late") }.code)
        assertEquals("closed", assertFailsWith<RequestException> { client.history(Conversation.Inbox) }.code)
        withTimeout(PATIENCE) { client.events.toList() }
    }

    @Test
    fun `collectors that are cancelled lose and repeat nothing`() = testing {
        val dave = connect("dave")
        val erin = connect("erin")
        val texts = List(500) { "m$it" }
        dave.takingEvents { texts.map { dave.send(Recipient.User("erin"), it) }.forEach { it.outcome() } }
        val came = mutableListOf<String>()
        withTimeout(PATIENCE) {
            while (came.size < texts.size) {
                // Some end by themselves, some are cut off while they wait or run.
                if (came.size % 3 == 0) {
                    came += erin.events.map { (it as? Event.Message)?.message?.text }.take(1).toList().filterNotNull()
                } else {
                    val job = launch(Dispatchers.Default) {
                        erin.events.collect { event -> (event as? Event.Message)?.message?.text?.let { came += it } }
                    }
                    launch(Dispatchers.Default) { job.cancel() }
                    job.join()
                }
            }
        }
        assertEquals(texts, came)
    }

    @Test
    fun `a client whose events nobody takes answers again when somebody does`() = testing {
        val frank = connect("frank")
        val grace = connect("grace")
        grace.takingEvents { List(1000) { grace.send(Recipient.User("frank"), "m$it") }.forEach { it.outcome() } }
        assertEquals(State.CONNECTED, frank.state.value)
        val texts = withTimeout(PATIENCE) {
            frank.events.filterIsInstance<Event.Message>().map { it.message.text }.take(1000).toList()
        }
        assertEquals(List(1000) { "m$it" }, texts)
        assertEquals(grace.sendAndWait(Recipient.User("frank"), "last").messageId, frank.awaitMessage("last").id)
    }

    @Test
    fun `a refusal has its code and reason, and stays until it is discarded`() = testing {
        val heidi = connect("heidi")
        val to = Recipient.Channel("not-a-member")
        val sent = heidi.send(to, "let me in")
        val refused = assertFailsWith<PublishException> { sent.outcome() }
        assertEquals("refused", refused.code)
        assertEquals(RefusalKind.RULE, refused.refusal?.kind)
        assertEquals(-1, refused.refusal?.ruleCode)
        assertFalse(refused.isRetryable)
        assertContains(assertNotNull(refused.message), "the message was refused: ")
        val unsettled = heidi.unsettledSends().single()
        assertEquals(listOf(sent, to, SendState.FAILED), listOf(unsettled.handle, unsettled.to, unsettled.state))
        assertEquals("let me in", unsettled.content.text)
        assertEquals("refused" to RefusalKind.RULE, unsettled.failure?.run { code to refusal })
        val again = sent.retry()
        assertNotEquals(sent, again)
        assertEquals("refused", assertFailsWith<PublishException> { again.outcome() }.code)
        assertTrue(again.discard())
        assertEquals(emptyList(), heidi.unsettledSends())
        val failed = heidi.await<Event.PublishFailed> { it.localId == again.localId }
        assertEquals("refused" to RefusalKind.RULE, failed.code to failed.refusal)
    }

    @Test
    fun `messages are changed, and a timeline shows them so`() = testing {
        val ivan = connect("ivan")
        val judy = connect("judy")
        val id = assertNotNull(ivan.sendAndWait(Recipient.User("judy"), "helo").messageId)
        val reference = assertNotNull(ivan.awaitMessage("helo").reference("ivan"))
        assertEquals(MessageRef(Recipient.User("judy"), id, reference.seq), reference)
        ivan.edit(reference, Content.text("hello")).outcome()
        val came = judy.awaitMessage("helo")
        assertNotNull(judy.react(assertNotNull(came.reference("judy")), "👍").outcome().messageId)
        val timeline = Timeline("judy")
        timeline.apply(came)
        withTimeout(PATIENCE) {
            judy.events.filterIsInstance<Event.Message>().first {
                timeline.apply(it.message)
                timeline[id]?.run { isEdited && reactions == listOf(Reaction("👍", listOf("judy"))) } == true
            }
        }
        assertEquals("hello", timeline.messages().single().content?.text)
        ivan.recall(reference).outcome()
        val page = judy.history(Recipient.User("ivan"))
        val fresh = Timeline("judy").apply { apply(page) }
        assertEquals(true to "ivan", fresh[id]?.run { isRecalled to recalledBy })
        val quote = came.quote()
        assertEquals("helo" to id, quote.excerpt to quote.messageId)
        assertEquals(id, came.forward().source?.messageId)
    }

    @Test
    fun `messages are pinned, reactions taken back, and a user deletes for that user alone`() = testing {
        val emil = connect("emil")
        val fay = connect("fay")
        val id = assertNotNull(emil.sendAndWait(Recipient.User("fay"), "pin me").messageId)
        val came = fay.awaitMessage("pin me")
        val reference = assertNotNull(came.reference("fay"))
        val timeline = Timeline("fay")
        suspend fun follow(isThere: Timeline.() -> Boolean) {
            fay.await<Event.Message> {
                timeline.apply(it.message)
                timeline.isThere()
            }
        }
        fay.changeAndWait(reference, ChangeKind.Reaction("🎉"))
        fay.pin(reference).outcome()
        follow { waiting == 2L }
        timeline.apply(came)
        assertEquals(0, timeline.waiting)
        val shown = assertNotNull(timeline[id])
        assertEquals(listOf(Reaction("🎉", listOf("fay"))) to true, shown.reactions to shown.isPinned)
        fay.unreact(reference, "🎉").outcome()
        fay.unpin(reference).outcome()
        follow { get(id)?.run { reactions.isEmpty() && !isPinned } == true }
        fay.deleteForMe(reference).outcome()
        follow { get(id)?.isDeleted == true }
        assertEquals(listOf(id), emil.history(Recipient.User("fay")).messages.map { it.id })
        assertNull(timeline.horizon)
        timeline.forgetThrough(id)
        timeline.apply(came)
        assertEquals(id to emptyList(), timeline.horizon to timeline.messages())
    }

    @Test
    fun `what is quoted and forwarded is verified by the back end`() = testing {
        val gabi = connect("gabi")
        val hans = connect("hans")
        gabi.sendAndWait(Recipient.User("hans"), "lunch?")
        val came = hans.awaitMessage("lunch?")
        assertFalse(came.quote().isVerified)
        hans.sendAndWait(Recipient.User("gabi"), Content(Body.Text("yes"), quote = came.quote()))
        val quote = assertNotNull(gabi.awaitMessage("yes").content.quote)
        assertEquals(listOf(true, "lunch?", came.id), quote.run { listOf(isVerified, excerpt, messageId) })
        hans.sendAndWait(Recipient.User("gabi"), Content(Body.Forwarded("plans", listOf(came.forward()))))
        val forwarded = gabi.await<Event.Message> { it.message.content.body is Body.Forwarded }.message.content.body
        val entry = assertIs<Body.Forwarded>(forwarded).entries.single()
        assertEquals(listOf(true, "gabi", "lunch?"), entry.run { listOf(isVerified, fromUser, content.text) })
    }

    @Test
    fun `history and search find what was said`() = testing {
        val kim = connect("kim")
        val leo = Recipient.User("leo")
        val ids = List(5) { assertNotNull(kim.sendAndWait(leo, "searchable word$it").messageId) }
        val newest = kim.history(leo, limit = 2)
        assertEquals(ids.takeLast(2), newest.messages.map { it.id })
        val older = kim.history(leo, assertNotNull(newest.next), limit = 3)
        assertEquals(ids.take(3), older.messages.map { it.id })
        val around = kim.history(leo, HistoryQuery(beforeMessage = ids[2], kinds = listOf(Kind.Number(1))))
        assertEquals(ids.take(2), around.messages.map { it.id })
        // Messages are archived soon, not at once.
        withTimeout(PATIENCE) {
            do {
                val found = kim.search(Search("searchable word3")).messages
            } while (found.isEmpty())
            assertEquals(listOf(ids[3]), kim.search(Search("searchable word3")).messages.map { it.id })
        }
    }

    @Test
    fun `a search is narrowed, and goes on where a page ended`() = testing {
        val cleo = connect("cleo")
        val dora = connect("dora")
        val before = System.currentTimeMillis() - 60_000
        val ids = List(2) { assertNotNull(cleo.sendAndWait(Recipient.User("dora"), "needle $it").messageId) }
        val answer = dora.sendAndWait(Recipient.User("cleo"), "needle found").messageId
        cleo.sendAndWait(Recipient.User("emma"), "needle for another")
        val here = Search("needle", conversation = Recipient.User("dora"))
        // Messages are archived soon, not at once.
        withTimeout(PATIENCE) {
            do {
                val all = cleo.search(Search("needle")).messages
            } while (all.size < 4)
        }
        assertEquals(listOf(answer) + ids.reversed(), cleo.search(here).messages.map { it.id })
        assertEquals(ids.reversed(), cleo.search(here.copy(from = "cleo")).messages.map { it.id })
        assertEquals(3, cleo.search(here.copy(sinceMillis = before, kinds = listOf(Kind.Number(1)))).messages.size)
        assertEquals(emptyList(), cleo.search(here.copy(untilMillis = before)).messages)
        assertEquals(emptyList(), cleo.search(here.copy(kinds = listOf(Kind.Custom("order.paid")))).messages)
        val first = cleo.search(here, limit = 2)
        assertEquals(listOf(answer, ids[1]), first.messages.map { it.id })
        val second = cleo.search(here.copy(before = assertNotNull(first.next)), limit = 2)
        assertEquals(listOf(ids[0]), second.messages.map { it.id })
        assertNull(second.next)
    }

    @Test
    fun `raw history has changes where they were made`() = testing {
        val ella = connect("ella")
        val fred = Recipient.User("fred")
        val before = System.currentTimeMillis() - 60_000
        val ids = List(3) { assertNotNull(ella.sendAndWait(fred, "entry $it").messageId) }
        val reference = assertNotNull(ella.awaitMessage("entry 0").reference("ella"))
        val edit = ella.changeAndWait(reference, ChangeKind.Edit(Content.text("edited"))).messageId
        val raw = ella.rawHistory(fred, HistoryQuery()).messages
        assertEquals(ids + edit, raw.map { it.id })
        assertEquals(listOf("edited", "entry 1", "entry 2", null), raw.map { it.text }, "nobody sees what was edited away")
        val change = assertIs<Body.Change>(raw.last().content.body)
        assertEquals(ids[0] to ChangeKind.Edit(Content.text("edited")), change.messageId to change.kind)
        val shown = ella.history(fred).messages
        assertEquals(listOf("edited", "entry 1", "entry 2"), shown.map { it.text })
        val amended = assertNotNull(shown.first().content.amended)
        assertEquals(edit to false, amended.change to amended.isRecalled)

        val inbox = HistoryQuery(HistoryRange.After(reference.seq), untilMillis = System.currentTimeMillis() + 60_000)
        val page = ella.rawHistory(Conversation.Inbox, inbox, limit = 2)
        assertEquals(ids.drop(1), page.messages.map { it.id })
        val rest = ella.rawHistory(Conversation.Inbox, HistoryQuery(assertNotNull(page.next), sinceMillis = before))
        assertEquals(listOf(edit), rest.messages.map { it.id })
        assertEquals(ids.drop(2) + edit, ella.rawHistory(fred, HistoryQuery(afterMessage = ids[1])).messages.map { it.id })
        assertEquals(emptyList(), ella.history(fred, HistoryQuery(untilMillis = before)).messages)
    }

    @Test
    fun `a gap is filled, without repeating what is pushed behind it`() = testing {
        val gina = connect("gina")
        val hugo = connect("hugo")
        val club = Recipient.Channel("kotlin-club")
        gina.addToGroup("kotlin-club")
        // The 256 newest entries at most are pushed to a new member.
        val texts = List(300) { "said $it" }
        gina.takingEvents { texts.map { gina.send(club, it) }.forEach { it.outcome() } }
        gina.addToGroup("kotlin-club", "hugo")
        val reset = hugo.await<Event.Reset> { it.position.channel == "kotlin-club" }
        assertEquals(ResetReason.NEW, reset.reason)
        val pushed = mutableListOf<String>()
        hugo.await<Event.Message> { event ->
            event.message.takeIf { it.channel == "kotlin-club" }?.text?.let(pushed::add)
            pushed.lastOrNull() == texts.last()
        }
        var page = hugo.fill(reset.position, limit = 20)
        assertEquals(reset.position.seq, page.messages.last().position?.seq)
        val filled = page.messages.toMutableList()
        while (true) {
            page = hugo.history(club, page.next ?: break, limit = 20)
            filled.addAll(0, page.messages)
        }
        assertEquals((1..reset.position.seq).toList(), filled.map { it.position?.seq })
        assertEquals(texts, filled.mapNotNull { it.text } + pushed)
    }

    @Test
    fun `the list of conversations follows, with unread counts and drafts`() = testing {
        val mary = open("mary")
        val list = mary.conversationList("mary")
        assertTrue(list.needsLoading)
        mary.connect()
        mary.await<Event.UpToDate>()
        list.load()
        assertEquals(emptyList(), list.conversations())
        list.updates.test(timeout = PATIENCE) {
            assertEquals(emptyList(), awaitItem())
            val taking = launch { mary.events.collect {} }
            val nina = connect("nina")
            val text = nina.sendAndWait(Recipient.User("mary"), "are you there?")
            val listed = awaitUntil { it.singleOrNull()?.unread == 1 }.single()
            assertEquals(text.messageId, listed.last?.id)
            assertEquals(1, list.unread.count)
            mary.setConversation(Recipient.User("nina"), ConversationChange(draft = "yes", pinned = true))
            awaitUntil { it.single().state.run { draft == "yes" && isPinned } }
            mary.markRead(Recipient.User("nina"), assertNotNull(listed.last?.position))
            awaitUntil { it.single().unread == 0 }
            assertEquals("yes", list[Recipient.User("nina")]?.state?.draft)
            taking.cancel()
            cancelAndIgnoreRemainingEvents()
        }
        assertEquals("yes", mary.conversations().conversations.single().state.draft)
        val long = assertFailsWith<MarkException> {
            mary.setConversation(Recipient.User("nina"), ConversationChange(draft = "x".repeat(2000)))
        }
        assertEquals("draft_too_long", long.code)
    }

    @Test
    fun `conversations are muted, marked, hidden and deleted`() = testing {
        val ines = open("ines")
        val list = ines.conversationList("ines")
        ines.connect()
        ines.await<Event.UpToDate>()
        list.load()
        val taking = launch { ines.events.collect {} }
        val jack = connect("jack")
        val calling = Content(Body.Text("one"), mentions = listOf("ines"))
        val ids = listOf(calling, Content.text("two")).map { jack.sendAndWait(Recipient.User("ines"), it).messageId }
        val unread = list.awaitOnly { it.unread == 2 }
        assertEquals(ids, unread.unreadIds)
        assertFalse(unread.hasMoreUnread)
        assertEquals(listOf(unread.unreadSeqs.first()), unread.mentionSeqs)
        assertNull(unread.lastEdit)

        val other = Recipient.User("jack")
        ines.setConversation(other, ConversationChange(mentionsOnly = true, markedUnread = true))
        list.awaitOnly { it.state.isMentionsOnly && it.state.isMarkedUnread }
        assertEquals(Unread(1, hasMore = false), list.unread)
        val end = System.currentTimeMillis() + 3_600_000
        ines.setConversation(other, ConversationChange(muted = true, mutedUntilMillis = end))
        list.awaitOnly { it.state.isMuted && it.state.mutedUntilMillis == end }
        assertEquals(0 to 1L, list.unread.count.toInt() to list.unreadAt(end + 1).count)

        val reference = assertNotNull(jack.awaitMessage("two").reference("jack"))
        val edit = jack.edit(reference, Content.text("three")).outcome().messageId
        assertEquals("three", list.awaitOnly { it.lastEdit == edit }.last?.text)
        ines.markRead(other, assertNotNull(unread.last?.position))
        jack.await<Event.ConversationsChanged> { event -> event.states.any { it.peerRead == ids[1] } }
        list.awaitOnly { it.unread == 0 && it.state.read.id == ids[1] && !it.state.isMarkedUnread }
        val recall = jack.recall(reference).outcome().messageId
        val recalled = list.awaitOnly { it.lastRecalled != null }
        assertEquals(Recalled(assertNotNull(recall), "jack"), recalled.lastRecalled)
        assertEquals(listOf(false, 1), ines.conversations(limit = 1).run { listOf(hasMore, conversations.size) })

        ines.setConversation(other, ConversationChange(hidden = recalled.end, deleted = unread.unreadSeqs.first()))
        withTimeout(PATIENCE) { list.updates.first { it.isEmpty() } }
        val hidden = assertNotNull(list[other]).state
        assertEquals(recalled.end to unread.unreadSeqs.first(), hidden.hidden to hidden.deleted)
        assertEquals(listOf(hidden), ines.conversations().hidden.map { it.state })
        assertEquals(listOf(ids[1]), ines.history(other).messages.map { it.id })
        taking.cancel()
    }

    @Test
    fun `groups, signals and presence`() = testing {
        val olga = connect("olga")
        val paul = connect("paul")
        assertContains(olga.addToGroup("kotlin-team", "paul"), "kotlin-team")
        val team = Recipient.Channel("kotlin-team")
        val id = olga.sendAndWait(team, "hello, team").messageId
        val message = paul.awaitMessage("hello, team")
        assertEquals(listOf(id, "kotlin-team"), listOf(message.id, message.channel))
        val position = assertNotNull(message.position)
        paul.markRead(team, position)
        assertEquals(ReadReceipt("kotlin-team", "paul", position.seq, id), olga.await<Event.ChannelRead>().receipt)
        withTimeout(PATIENCE) {
            do {
                val readers = olga.readers("kotlin-team", position.seq, 10)
            } while (readers != Readers(1, listOf("paul")))
        }
        assertTrue(paul.signal(Recipient.User("olga"), Signal.Typing()))
        val typing = olga.await<Event.SignalReceived>().signal
        assertEquals("paul" to Signal.Typing(), typing.fromUser to typing.signal)
        assertTrue(paul.signal(team, Signal.Typing(isStopped = true)))
        val stopped = olga.await<Event.SignalReceived>().signal
        assertEquals("kotlin-team" to Signal.Typing(isStopped = true), stopped.channel to stopped.signal)
        val call = Signal.Call("call-1", CallStep.RING, Bytes.utf8("data"))
        assertTrue(olga.signalDevice("paul", typing.device, call))
        assertEquals(call, paul.await<Event.SignalReceived>().signal.signal)
        val here = olga.watch(listOf("paul")).single()
        assertTrue(here.isOnline)
        assertEquals(listOf(Terminal.DESKTOP to true), here.terminals.map { it.terminal to it.isOnline })
        paul.disconnect()
        val gone = olga.await<Event.PresenceChanged>().presence
        assertFalse(gone.isOnline)
        assertTrue(System.currentTimeMillis() - assertNotNull(gone.terminals.single().lastSeenMillis) in -60_000..60_000)
    }

    @Test
    fun `a room is joined, talks and counts, and is left`() = testing {
        val alma = connect("alma")
        val ben = connect("ben")
        val room = Recipient.Channel("room-kotlin")
        val first = alma.joinRoom("room-kotlin", Bytes.utf8("please"))
        assertEquals(JoinedRoom(1, Bytes.utf8("be kind"), emptyList()), first)
        val outside = assertFailsWith<PublishException> { ben.sendAndWait(room, "let me in") }
        assertEquals("refused", outside.code)
        val question = alma.sendAndWait(room, "is anybody here?").messageId
        val second = ben.joinRoom("room-kotlin")
        assertEquals(2L to listOf(question), second.online to second.recent.map { it.id })

        val answer = ben.sendAndWait(room, "I am").messageId
        val message = alma.awaitMessage("I am")
        assertEquals(listOf(answer, "ben", "room-kotlin"), message.run { listOf(id, fromUser, channel) })
        assertNull(message.position, "it is in no log that the device follows")
        val like = Content.custom("cli-chat.like", Bytes.EMPTY)
        List(3) { ben.send(room, like) }.forEach { it.outcome() }
        var likes = 0
        // They are summed up, as far as they come at the same time.
        alma.await<Event.Message> { event ->
            val body = event.message.content.body
            if (body is Body.Custom && body.kind == "cli-chat.like") likes += body.data.decodeToString().toInt()
            likes >= 3
        }
        assertEquals(3, likes)

        // A device is in the room again over the next connection, and gets what was said there.
        alma.disconnect()
        ben.sendAndWait(room, "while you were away")
        alma.connect()
        alma.awaitMessage("while you were away")
        alma.leaveRoom("room-kotlin")
        assertEquals("refused", assertFailsWith<PublishException> { alma.sendAndWait(room, "late") }.code)
        assertEquals(2, alma.joinRoom("room-kotlin").online)
        ben.sendAndWait(room, Content.custom("cli-chat.kick", Bytes.utf8("alma")))
        val left = Event.RoomLeft("room-kotlin", RoomLeftCause.KICKED, "ben has removed you", ruleCode = 0)
        assertEquals(left, alma.await<Event.RoomLeft>())
        assertEquals("refused", assertFailsWith<PublishException> { alma.sendAndWait(room, "late") }.code)
    }

    @Test
    fun `a room that is refused is told with the reason`() = testing {
        val carl = connect("carl")
        val refused = assertFailsWith<RequestException> { carl.joinRoom("cellar") }
        assertEquals("refused", refused.code)
        assertEquals(RefusalKind.RULE to 4, refused.refusal?.run { kind to ruleCode })
        assertContains(assertNotNull(refused.message), "cellar is no room")
    }

    @Test
    fun `tokens are asked for, refreshed after a rejection, and denied`() = testing {
        val asked = ConcurrentLinkedQueue<TokenRequest>()
        val rita = keep(
            Client.open(
                config("rita"),
                TokenProvider.suspending { request ->
                    asked += request
                    when (asked.size) {
                        1 -> throw TokenException.Unavailable("no network")
                        2 -> error("a bug of the application")
                        3 -> server.token("rita", seconds = -100)
                        else -> server.token("rita")
                    }
                },
            ),
        )
        rita.connect()
        assertContains(rita.await<Event.Disconnected>().reason, "no network")
        // A retry comes at once when the application asks for it.
        rita.connect()
        assertContains(rita.await<Event.Disconnected>().reason, "a bug of the application")
        rita.connect()
        rita.await<Event.Connected>()
        assertIs<TokenRequest.First>(asked.first())
        assertIs<TokenRequest.Rejected>(asked.last())

        val denied = keep(Client.open(config("sam")) { throw TokenException.Denied("logged out") })
        denied.connect()
        val stopped = denied.await<Event.Stopped>()
        assertEquals("token", stopped.cause)
        assertContains(stopped.reason, "logged out")
        denied.state.first { it == State.STOPPED }
        denied.setToken(server.token("sam"))
        denied.connect()
        assertEquals("sam", denied.await<Event.Connected>().user)
    }

    @Test
    fun `what a device missed comes, and what it sent offline leaves with the next process`() = testing {
        val store = folder.resolve("tina.db").toString()
        val uma = connect("uma")
        val first = keep(Client.open(config("tina").copy(storePath = store)) { server.token("tina") })
        first.connect()
        first.await<Event.UpToDate>()
        uma.sendAndWait(Recipient.User("tina"), "before")
        first.ack(assertNotNull(first.awaitMessage("before").position))
        val inUse = assertFailsWith<OpenException> { Client.open(config("tina").copy(storePath = store)) { "" } }
        assertEquals("store", inUse.code)
        first.shutdown()
        uma.sendAndWait(Recipient.User("tina"), "missed")
        val offline = keep(Client.open(config("tina").copy(storePath = store)) { server.token("tina") })
        val sent = offline.send(Recipient.User("uma"), "written offline")
        assertEquals(listOf(sent to SendState.PENDING), offline.unsettledSends().map { it.handle to it.state })
        offline.shutdown()
        val again = keep(Client.open(config("tina").copy(storePath = store)) { server.token("tina") })
        again.connect()
        val came = withTimeout(PATIENCE) {
            again.events.filterIsInstance<Event.Message>().map { it.message }.take(2).toList()
        }
        assertEquals(setOf("missed", "written offline"), came.map { it.text }.toSet())
        assertEquals(sent.localId, came.first { it.text == "written offline" }.localId)
        assertEquals("tina", uma.awaitMessage("written offline").fromUser)
    }

    @Test
    fun `QUIC works with a pinned certificate, and not with another one`() = testing {
        val config = ClientConfig(
            listOf(server.quic), Terminal.DESKTOP, "kotlin-quic", trust = Trust.CertificateSha256(server.fingerprint),
        )
        val vera = keep(Client.open(config) { server.token("vera") })
        vera.connect()
        val connected = vera.await<Event.Connected>()
        assertEquals(listOf("vera", Transport.QUIC, server.quic), connected.run { listOf(user, transport, endpoint) })
        val wrong = config.copy(trust = Trust.CertificateSha256("0".repeat(64)), connectTimeout = 5.seconds)
        val other = keep(Client.open(wrong) { server.token("vera") })
        other.connect()
        other.await<Event.Disconnected>()
    }

    @Test
    fun `a configuration that cannot work is told`() = testing {
        val codes = listOf(
            config("x").copy(endpoints = emptyList()),
            config("x").copy(endpoints = listOf("http://127.0.0.1")),
            config("x").copy(deviceId = "with space"),
            config("x").copy(trust = Trust.Pem("not a certificate")),
        ).map { config -> assertFailsWith<OpenException> { Client.open(config) { "" } }.code }
        assertEquals(listOf("no_endpoints", "invalid_config", "invalid_config", "invalid_config"), codes)
        val client = open("x")
        assertEquals("no_endpoints", assertFailsWith<OpenException> { client.setEndpoints(emptyList()) }.code)
        assertEquals("invalid_id", assertFailsWith<SendException> { client.send(Recipient.User("a b/{"), "hi") }.code)
        assertEquals("not_connected", assertFailsWith<RequestException> { client.history(Conversation.Inbox) }.code)
        assertFalse(client.signal(Recipient.User("y"), Signal.Typing()))
        val late = assertFailsWith<PublishException> { client.sendAndWait(Recipient.User("y"), "hi", Duration.ZERO) }
        assertContains(listOf("not_connected", "timed_out"), late.code)
        assertTrue(late.isRetryable)
        assertFailsWith<InvalidContentException> { Timeline("a b/{") }
    }

    @Test
    fun `a configuration is built as it is constructed`() {
        val endpoints = listOf(server.webSocket)
        val provider = EndpointProvider { endpoints }
        val built = ClientConfig.builder(endpoints, Terminal.WEB, "built").storePath("a.db").isNewLogin(true)
            .endpointProvider(provider).trust(Trust.Pem("text"))
            .publishTimeout(java.time.Duration.ofSeconds(1)).requestTimeout(java.time.Duration.ofSeconds(2))
            .connectTimeout(java.time.Duration.ofSeconds(3)).cursorCheck(java.time.Duration.ofSeconds(4))
            .clientName("test/1").build()
        val constructed = ClientConfig(
            endpoints, Terminal.WEB, "built", "a.db", true, provider, Trust.Pem("text"), 1.seconds, 2.seconds, 3.seconds, 4.seconds,
            "test/1",
        )
        assertEquals(constructed, built)
    }

    @Test
    fun `a server that is killed costs nothing`() = testing {
        TestServer.open().use { own ->
            val config = { name: String -> ClientConfig(listOf(own.webSocket), Terminal.DESKTOP, "kotlin-$name") }
            val wanda = keep(Client.open(config("wanda")) { own.token("wanda") })
            val xaver = keep(Client.open(config("xaver")) { own.token("xaver") })
            for (client in listOf(wanda, xaver)) {
                client.connect()
                client.await<Event.UpToDate>()
            }
            wanda.sendAndWait(Recipient.User("xaver"), "one")
            own.kill()
            wanda.await<Event.Disconnected>()
            val later = listOf("two", "three").map { wanda.send(Recipient.User("xaver"), it) }
            own.start()
            wanda.connect()
            xaver.connect()
            later.map { async { it.outcome() } }.awaitAll()
            val texts = withTimeout(PATIENCE) {
                xaver.events.filterIsInstance<Event.Message>().map { it.message.text }.take(3).toList()
            }
            assertEquals(listOf<String?>("one", "two", "three"), texts)
        }
    }

    @Test
    fun `the application goes into the background and comes back`() = testing {
        val store = folder.resolve("yuri.db").toString()
        val zoe = connect("zoe")
        val yuri = keep(Client.open(config("yuri").copy(storePath = store)) { server.token("yuri") })
        yuri.connect()
        yuri.await<Event.UpToDate>()
        val sent = yuri.send(Recipient.User("zoe"), "before I go")
        assertTrue(yuri.enteredBackground(within = 10.seconds))
        withTimeout(PATIENCE) { yuri.state.first { it != State.CONNECTED } }
        withTimeout(PATIENCE) { yuri.isUpToDate.first { !it } }
        sent.outcome()
        zoe.awaitMessage("before I go")
        zoe.sendAndWait(Recipient.User("yuri"), "while you were away")
        yuri.memoryPressure()
        yuri.enteredForeground()
        yuri.networkChanged()
        yuri.awaitMessage("while you were away")
        withTimeout(PATIENCE) { yuri.isUpToDate.first { it } }
    }

    @Test
    fun `endpoints are asked for when none is reached`() = testing {
        val config = config("adam").copy(
            endpoints = listOf("ws://127.0.0.1:9"), endpointProvider = EndpointProvider { listOf(server.webSocket) }, isNewLogin = true,
        )
        val adam = keep(Client.open(config) { server.token("adam") })
        adam.connect()
        assertContains(adam.await<Event.Connected>().endpoint, server.webSocket)
    }

    @Test
    fun `the log goes to a sink, and nowhere without one`() = testing {
        val records = ConcurrentLinkedQueue<LogRecord>()
        assertTrue(Logging.setSink(LogLevel.WARN) { records.add(it) })
        val bert = open("bert")
        bert.send(Recipient.User("carol"), "hi")
        TestServer.waitUntil("the log tells of the message that waits") { records.isNotEmpty() }
        val record = records.first()
        assertEquals(LogLevel.WARN, record.level)
        assertContains(record.target, "im_sdk::client")
        assertContains(record.message, "call Client::connect")
        assertTrue(System.currentTimeMillis() - record.atMillis in 0..60_000)
        assertTrue(Logging.setSink(LogLevel.ERROR, null))
        val told = records.size
        open("doris").run {
            send(Recipient.User("carol"), "hi")
            shutdown()
        }
        assertEquals(told, records.size)
    }

    private fun config(user: String) = ClientConfig(listOf(server.webSocket), Terminal.DESKTOP, "kotlin-$user")

    private suspend fun open(user: String): Client = keep(Client.open(config(user)) { server.token(user) })

    private suspend fun connect(user: String): Client =
        open(user).also {
            it.connect()
            assertEquals(user, it.await<Event.Connected>().user)
            it.await<Event.UpToDate>()
        }

    /** Asks the back end to bring users into a group, and returns its answer. */
    private suspend fun Client.addToGroup(group: String, vararg users: String): String {
        val request = listOf("add", group, *users).joinToString(" ")
        return sendAndWait(Recipient.User("back-end"), Content.custom("cli-chat.group", Bytes.utf8(request))).answer.decodeToString()
    }

    /** Waits until the list has one conversation, and it is so. */
    private suspend fun ConversationList.awaitOnly(fits: (ListedConversation) -> Boolean): ListedConversation =
        withTimeout(PATIENCE) { updates.first { it.size == 1 && fits(it.single()) } }.single()

    private fun keep(client: Client): Client = client.also(clients::add)

    private suspend fun Client.awaitMessage(text: String): ReceivedMessage =
        await<Event.Message> { it.message.text == text }.message

    /** Outcomes come only while events are taken. */
    private suspend fun Client.takingEvents(block: suspend () -> Unit) = coroutineScope {
        val taking = launch { events.collect {} }
        block()
        taking.cancel()
    }

    /** Takes events up to the first of a kind that fits. */
    private suspend inline fun <reified E : Event> Client.await(crossinline fits: (E) -> Boolean = { true }): E =
        withTimeout(PATIENCE) { events.filterIsInstance<E>().first { fits(it) } }

    private suspend fun ReceiveTurbine<Event>.awaitMessage(text: String): ReceivedMessage {
        while (true) {
            val event = awaitItem()
            if (event is Event.Message && event.message.text == text) return event.message
        }
    }

    private suspend fun <T> ReceiveTurbine<T>.awaitUntil(wanted: T) {
        awaitUntil { it == wanted }
    }

    private suspend fun <T> ReceiveTurbine<T>.awaitUntil(fits: (T) -> Boolean): T {
        while (true) {
            val item = awaitItem()
            if (fits(item)) return item
        }
    }

    private fun testing(block: suspend CoroutineScope.() -> Unit) = runBlocking { withTimeout(LIMIT, block) }

    private companion object {
        /** For a whole test: nothing may hang. */
        val LIMIT = 90.seconds

        /** For anything that must happen, on a busy machine. */
        val PATIENCE = 20.seconds
    }
}
