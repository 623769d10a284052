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
    fun `groups, signals and presence`() = testing {
        val olga = connect("olga")
        val paul = connect("paul")
        val add = Content.custom("cli-chat.group", Bytes.utf8("add kotlin-team paul"))
        assertContains(olga.sendAndWait(Recipient.User("back-end"), add).answer.decodeToString(), "kotlin-team")
        val team = Recipient.Channel("kotlin-team")
        val id = olga.sendAndWait(team, "hello, team").messageId
        val message = paul.awaitMessage("hello, team")
        assertEquals(listOf(id, "kotlin-team"), listOf(message.id, message.channel))
        paul.markRead(team, assertNotNull(message.position))
        withTimeout(PATIENCE) {
            do {
                val readers = olga.readers("kotlin-team", assertNotNull(message.position).seq, 10)
            } while (readers != Readers(1, listOf("paul")))
        }
        assertTrue(paul.signal(Recipient.User("olga"), Signal.Typing()))
        val typing = olga.await<Event.SignalReceived>().signal
        assertEquals("paul" to Signal.Typing(), typing.fromUser to typing.signal)
        val call = Signal.Call("call-1", CallStep.RING, Bytes.utf8("data"))
        assertTrue(olga.signalDevice("paul", typing.device, call))
        assertEquals(call, paul.await<Event.SignalReceived>().signal.signal)
        assertTrue(olga.watch(listOf("paul")).single().isOnline)
        paul.disconnect()
        assertFalse(olga.await<Event.PresenceChanged>().presence.isOnline)
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
