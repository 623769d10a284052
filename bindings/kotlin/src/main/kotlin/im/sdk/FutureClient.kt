package im.sdk

import java.time.Duration
import java.util.concurrent.CompletableFuture
import java.util.function.Consumer
import kotlin.time.toKotlinDuration
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.future.future
import kotlinx.coroutines.launch

/**
 * A [Client] for Java: whatever suspends there returns a [CompletableFuture] here. A future fails with the exception that the method
 * of [Client] throws.
 *
 * Futures are completed on threads of the SDK. Do not block in what depends on them; `thenApplyAsync` moves it to another thread.
 */
public class FutureClient(
    /** The client itself. */
    public val client: Client,
) : AutoCloseable {
    private val scope: CoroutineScope get() = client.scope

    /** See [Client.state]. */
    public val state: State get() = client.state.value

    /** See [Client.connect]. */
    public fun connect(): Unit = client.connect()

    /** See [Client.disconnect]. */
    public fun disconnect(): Unit = client.disconnect()

    /** See [Client.setEndpoints]. */
    public fun setEndpoints(endpoints: List<String>): Unit = client.setEndpoints(endpoints)

    /** See [Client.setToken]. */
    public fun setToken(token: String): Unit = client.setToken(token)

    /** See [Client.networkChanged]. */
    public fun networkChanged(): Unit = client.networkChanged()

    /** See [Client.enteredBackground]. */
    public fun enteredBackground(within: Duration): CompletableFuture<Boolean> =
        scope.future { client.enteredBackground(within.toKotlinDuration()) }

    /** See [Client.enteredForeground]. */
    public fun enteredForeground(): Unit = client.enteredForeground()

    /** See [Client.memoryPressure]. */
    public fun memoryPressure(): Unit = client.memoryPressure()

    /** See [Client.ack]. */
    public fun ack(position: Position): Unit = client.ack(position)

    /** Calls [listener] with the state now and after each change, until the result is closed. */
    public fun addStateListener(listener: Consumer<State>): AutoCloseable {
        val job = scope.launch { client.state.collect(listener::accept) }
        return AutoCloseable { job.cancel() }
    }

    /** See [Client.nextEvents]. A future that was cancelled takes no event with it. */
    public fun nextEvents(max: Int): CompletableFuture<List<Event>> {
        val taken = CompletableFuture<List<Event>>()
        val job = scope.launch {
            val events = client.nextEvents(max)
            if (!taken.complete(events)) client.queue.putBack(events)
        }
        taken.whenComplete { _, _ -> if (taken.isCancelled) job.cancel() }
        return taken
    }

    /** See [Client.send]. */
    public fun send(to: Recipient, content: Content): CompletableFuture<FutureSend> =
        scope.future { FutureSend(client.send(to, content), scope) }

    /** See [Client.send]. */
    public fun send(to: Recipient, content: Content, within: Duration): CompletableFuture<FutureSend> =
        scope.future { FutureSend(client.send(to, content, within.toKotlinDuration()), scope) }

    /** See [Client.sendAndWait]. */
    public fun sendAndWait(to: Recipient, content: Content): CompletableFuture<Published> =
        scope.future { client.sendAndWait(to, content) }

    /** See [Client.sendAndWait]. */
    public fun sendAndWait(to: Recipient, content: Content, within: Duration): CompletableFuture<Published> =
        scope.future { client.sendAndWait(to, content, within.toKotlinDuration()) }

    /** See [Client.unsettledSends]. */
    public fun unsettledSends(): CompletableFuture<List<UnsettledSend>> = scope.future { client.unsettledSends() }

    /** See [Client.change]. */
    public fun change(message: MessageRef, kind: ChangeKind): CompletableFuture<FutureSend> =
        scope.future { FutureSend(client.change(message, kind), scope) }

    /** See [Client.changeAndWait]. */
    public fun changeAndWait(message: MessageRef, kind: ChangeKind): CompletableFuture<Published> =
        scope.future { client.changeAndWait(message, kind) }

    /** See [Client.history]. */
    public fun history(conversation: Conversation, range: HistoryRange, limit: Int): CompletableFuture<HistoryPage> =
        scope.future { client.history(conversation, range, limit) }

    /** See [Client.history]. */
    public fun history(conversation: Conversation, query: HistoryQuery, limit: Int): CompletableFuture<HistoryPage> =
        scope.future { client.history(conversation, query, limit) }

    /** See [Client.rawHistory]. */
    public fun rawHistory(conversation: Conversation, query: HistoryQuery, limit: Int): CompletableFuture<HistoryPage> =
        scope.future { client.rawHistory(conversation, query, limit) }

    /** See [Client.fill]. */
    public fun fill(reset: Position, limit: Int): CompletableFuture<HistoryPage> =
        scope.future { client.fill(reset, limit) }

    /** See [Client.search]. */
    public fun search(search: Search, limit: Int): CompletableFuture<FoundPage> =
        scope.future { client.search(search, limit) }

    /** See [Client.conversations]. */
    public fun conversations(skip: Int, limit: Int): CompletableFuture<ConversationPage> =
        scope.future { client.conversations(skip, limit) }

    /** See [Client.conversationList]; [load] loads it. */
    public fun conversationList(user: String): ConversationList = client.conversationList(user)

    /** See [ConversationList.load]. */
    public fun load(list: ConversationList): CompletableFuture<Void?> = nothing { list.load() }

    /** See [Client.markRead]. */
    public fun markRead(conversation: Recipient, position: Position): CompletableFuture<Void?> =
        nothing { client.markRead(conversation, position) }

    /** See [Client.setConversation]. */
    public fun setConversation(conversation: Recipient, change: ConversationChange): CompletableFuture<Void?> =
        nothing { client.setConversation(conversation, change) }

    /** See [Client.readers]. */
    public fun readers(channel: String, seq: Long, limit: Int): CompletableFuture<Readers> =
        scope.future { client.readers(channel, seq, limit) }

    /** See [Client.joinRoom]. */
    public fun joinRoom(channel: String, data: Bytes): CompletableFuture<JoinedRoom> =
        scope.future { client.joinRoom(channel, data) }

    /** See [Client.leaveRoom]. */
    public fun leaveRoom(channel: String): CompletableFuture<Void?> = nothing { client.leaveRoom(channel) }

    /** See [Client.watch]. */
    public fun watch(users: List<String>): CompletableFuture<List<UserPresence>> =
        scope.future { client.watch(users) }

    /** See [Client.signal]. */
    public fun signal(to: Recipient, signal: Signal): CompletableFuture<Boolean> =
        scope.future { client.signal(to, signal) }

    /** See [Client.signalDevice]. */
    public fun signalDevice(user: String, device: String, signal: Signal): CompletableFuture<Boolean> =
        scope.future { client.signalDevice(user, device, signal) }

    /** See [Client.shutdown]. */
    public fun shutdown(): CompletableFuture<Void?> = nothing { client.shutdown() }

    /** Blocks until the client is shut down. */
    override fun close(): Unit = client.close()

    private fun nothing(block: suspend () -> Unit): CompletableFuture<Void?> =
        scope.future {
            block()
            null
        }

    public companion object {
        /** Opens a client, as [Client.openBlocking] does. */
        @JvmStatic
        public fun open(config: ClientConfig, tokens: TokenProvider): FutureClient =
            FutureClient(Client.openBlocking(config, tokens))
    }
}

/** A [SendHandle] for Java. */
public class FutureSend internal constructor(
    /** The handle itself. */
    public val handle: SendHandle,
    private val scope: CoroutineScope,
) {
    /** See [SendHandle.localId]. */
    public val localId: Long get() = handle.localId

    /** See [SendHandle.outcome]. */
    public fun outcome(): CompletableFuture<Published> = scope.future { handle.outcome() }

    /** See [SendHandle.discard]. */
    public fun discard(): CompletableFuture<Boolean> = scope.future { handle.discard() }

    /** See [SendHandle.retry]. */
    public fun retry(): CompletableFuture<FutureSend> = scope.future { FutureSend(handle.retry(), scope) }
}
