package im.sdk

import im.sdk.bridge.BridgedTokens
import im.sdk.bridge.toFfi
import im.sdk.bridge.toFfiConversation
import im.sdk.bridge.toMillis
import im.sdk.bridge.toPublic
import im.sdk.ffi.Client as FfiClient
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext

/**
 * A device's connection to its servers: the client makes it, watches over it and makes it again.
 *
 * **The application has to keep taking [events].** When some hundred wait, the client stops reading from the network, and answers do
 * not come either: sends stay without an outcome and requests time out. So do not wait for a request where events are taken.
 *
 * Java takes a [FutureClient].
 */
public class Client private constructor(private val ffi: FfiClient) : AutoCloseable {
    internal val scope: CoroutineScope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    internal val queue: EventQueue = EventQueue(QUEUE_CAPACITY)
    private val isTaking = AtomicBoolean()
    private val currentState = MutableStateFlow(ffi.state().toPublic())
    private val hasEverything = MutableStateFlow(false)

    init {
        scope.launch { followState() }
    }

    /**
     * The client's events, in order. Each goes to one collector: collect once, and share from there. A collector that is cancelled
     * loses no event: the next one goes on. The flow completes when the client is closed and everything was taken.
     */
    public val events: Flow<Event>
        get() {
            startTaking()
            return queue
        }

    /** The state of the connection. */
    public val state: StateFlow<State> = currentState.asStateFlow()

    /**
     * Everything that was there when the present connection began has come, up to the last event that the client holds for the
     * application: see [Event.UpToDate].
     */
    public val isUpToDate: StateFlow<Boolean> = hasEverything.asStateFlow()

    /** The transport of the connection; `null` unless connected. */
    public val transport: Transport? get() = ffi.transport()?.toPublic()

    /** Makes a connection and keeps it; at once if the client was waiting for its next attempt. Returns at once. */
    public fun connect() {
        ffi.connect()
        startTaking()
    }

    /** Ends the connection and stays away until [connect]. Returns at once. Unsent messages wait. */
    public fun disconnect(): Unit = ffi.disconnect()

    /**
     * Replaces the endpoints, best first, from the next attempt on. Returns at once.
     *
     * @throws OpenException `no_endpoints` or `invalid_config`: the client goes on with those that it knows
     */
    public fun setEndpoints(endpoints: List<String>): Unit = translating { ffi.setEndpoints(endpoints) }

    /**
     * Tells the client that the device has another network, or has one again: a connection is probed, an attempt begins anew. Returns
     * at once.
     */
    public fun networkChanged(): Unit = ffi.networkChanged()

    /**
     * Tells the client that its application goes into the background. It sends what waits, if it is connected, saves everything, ends
     * the connection and closes the store's file. Returns `true` if all of that is done [within] this time, and `false` if the time
     * was too short, or the application came back first.
     */
    public suspend fun enteredBackground(within: Duration): Boolean = ffi.enteredBackground(within.toMillis())

    /** Tells the client that its application is in the foreground again: it connects if it was connected before. Returns at once. */
    public fun enteredForeground(): Unit = ffi.enteredForeground()

    /** Tells the client that the device is short of memory. Nothing is forgotten. Returns at once. */
    public fun memoryPressure(): Unit = ffi.memoryPressure()

    /** Replaces the provider by a token, from the next connection on, while one that is there stays. Returns at once. */
    public fun setToken(token: String): Unit = ffi.setToken(token)

    /**
     * Takes the next events, in order: at least one, waiting for it if need be, and at most [max]. Returns none only when the client
     * is closed and everything was taken. These are the events of [events], for an application that saves whole batches.
     */
    public suspend fun nextEvents(max: Int = BATCH): List<Event> {
        startTaking()
        return queue.take(max.coerceAtLeast(1))
    }

    /**
     * Acknowledges that the application has dealt with everything in a log up to a position, as it came with an event. Returns at once.
     * After a restart of the process the log goes on behind it. The last one of a batch is enough.
     */
    public fun ack(position: Position): Unit = ffi.ack(position.toFfi())

    /**
     * Sends a message. Returns a handle as soon as the store has it, also without a network. [Event.Published] or
     * [Event.PublishFailed] tells the outcome, and so does the handle. The client gives up after [within], if it is given.
     *
     * @throws SendException if it was not taken, and nothing will be sent
     */
    public suspend fun send(to: Recipient, content: Content, within: Duration? = null): SendHandle =
        translating { SendHandle(ffi.send(to.toFfi(), content.toFfi(), within?.toMillis())) }

    /** Sends a text, as [send] does with any content. */
    public suspend fun send(to: Recipient, text: String, within: Duration? = null): SendHandle =
        send(to, Content.text(text), within)

    /**
     * Sends a message and waits for the outcome, for [ClientConfig.publishTimeout] or [within]. No event tells the outcome, and
     * nothing is kept of what has failed.
     *
     * @throws PublishException says whether anything was sent
     */
    public suspend fun sendAndWait(to: Recipient, content: Content, within: Duration? = null): Published =
        translating { ffi.sendAndWait(to.toFfi(), content.toFfi(), within?.toMillis()).toPublic() }

    /** Sends a text and waits for the outcome, as [sendAndWait] does with any content. */
    public suspend fun sendAndWait(to: Recipient, text: String, within: Duration? = null): Published =
        sendAndWait(to, Content.text(text), within)

    /** Returns the sends that are not settled, of this process and earlier ones, in order. */
    public suspend fun unsettledSends(): List<UnsettledSend> = ffi.unsettledSends().map { it.toPublic() }

    /**
     * Changes a message. The change is sent like a message; once the back end has taken it, it comes to all devices, this one too.
     * The client gives up after [within], if it is given.
     *
     * @throws SendException if it was not taken, and nothing will be sent
     */
    public suspend fun change(message: MessageRef, kind: ChangeKind, within: Duration? = null): SendHandle =
        translating { SendHandle(ffi.change(message.toFfi(), kind.toFfi(), within?.toMillis())) }

    /**
     * Changes a message and waits until the back end has taken the change, for [ClientConfig.publishTimeout] or [within].
     *
     * @throws PublishException says whether anything was sent
     */
    public suspend fun changeAndWait(message: MessageRef, kind: ChangeKind, within: Duration? = null): Published =
        translating { ffi.changeAndWait(message.toFfi(), kind.toFfi(), within?.toMillis()).toPublic() }

    /** Takes a message back, as a [change]: nobody is to see it any more. */
    public suspend fun recall(message: MessageRef): SendHandle = change(message, ChangeKind.Recall)

    /** Replaces a message's content, as a [change]. */
    public suspend fun edit(message: MessageRef, content: Content): SendHandle = change(message, ChangeKind.Edit(content))

    /** Removes a message from all devices of this user, as a [change]. Others see it as before. */
    public suspend fun deleteForMe(message: MessageRef): SendHandle = change(message, ChangeKind.DeleteForMe)

    /** Adds this user's reaction to a message, as a [change]. */
    public suspend fun react(message: MessageRef, emoji: String): SendHandle =
        change(message, ChangeKind.Reaction(emoji))

    /** Takes this user's reaction back, as a [change]. */
    public suspend fun unreact(message: MessageRef, emoji: String): SendHandle =
        change(message, ChangeKind.Reaction(emoji, isRemoved = true))

    /** Pins a message for everybody in the conversation, as a [change]. */
    public suspend fun pin(message: MessageRef): SendHandle = change(message, ChangeKind.Pin())

    /** Unpins a message, as a [change]. */
    public suspend fun unpin(message: MessageRef): SendHandle = change(message, ChangeKind.Pin(isRemoved = true))

    /**
     * Reads a page of the past. A [limit] of 0 leaves the size to the back end, which may always send fewer messages than asked for.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun history(
        conversation: Conversation,
        range: HistoryRange = HistoryRange.Newest,
        limit: Int = 0,
    ): HistoryPage =
        translating { ffi.history(conversation.toFfiConversation(), range.toFfi(), count(limit)).toPublic() }

    /**
     * Reads a page of the past with messages of some kinds or of some time, or around a message.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun history(conversation: Conversation, query: HistoryQuery, limit: Int = 0): HistoryPage =
        translating { ffi.queryHistory(conversation.toFfiConversation(), query.toFfi(), count(limit)).toPublic() }

    /**
     * Reads a page of entries as they are in the log: messages, and changes at the places where they were made. [history] has put them
     * together.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun rawHistory(conversation: Conversation, query: HistoryQuery, limit: Int = 0): HistoryPage =
        translating { ffi.rawHistory(conversation.toFfiConversation(), query.toFfi(), count(limit)).toPublic() }

    /**
     * Reads the messages that a [reset][Event.Reset] left out: the last ones up to its position. The page's [HistoryPage.next] leads
     * further back, for [history].
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun fill(reset: Position, limit: Int = 0): HistoryPage =
        translating { ffi.fill(reset.toFfi(), count(limit)).toPublic() }

    /**
     * Searches in all messages that the user may see and that the back ends keep for good, or in one conversation.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun search(search: Search, limit: Int = 0): FoundPage =
        translating { ffi.search(search.toFfi(), count(limit)).toPublic() }

    /**
     * Reads the user's conversations from [skip] on: pinned ones first, then by their last messages.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun conversations(skip: Int = 0, limit: Int = 0): ConversationPage =
        translating { ffi.conversations(count(skip), count(limit)).toPublic() }

    /**
     * Makes a list of the conversations of this client's user. Make it before the first [connect].
     *
     * @throws InvalidContentException if [user] is no user id
     */
    public fun conversationList(user: String): ConversationList =
        translating { ConversationList(ffi, ffi.conversationList(user), queue.batches) }

    /**
     * Marks everything in a conversation up to a position as read. Returns at once; [Event.ConversationsChanged] follows.
     *
     * @throws MarkException if nothing was set
     */
    public suspend fun markRead(conversation: Recipient, position: Position): Unit =
        translating { ffi.markRead(conversation.toFfi(), position.toFfi()) }

    /**
     * Pins, mutes, hides or deletes a conversation, or keeps a draft. Returns at once; [Event.ConversationsChanged] follows.
     *
     * @throws MarkException if nothing was set
     */
    public suspend fun setConversation(conversation: Recipient, change: ConversationChange): Unit =
        translating { ffi.setConversation(conversation.toFfi(), change.toFfi()) }

    /**
     * Tells who has read the message at a place of a channel: how many members, and up to [limit] names.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun readers(channel: String, seq: Long, limit: Int = 0): Readers =
        translating { ffi.readers(channel, seq.toULong(), count(limit)).toPublic() }

    /**
     * Joins a room, if the back end lets the device in. It stays in over changes of the connection.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun joinRoom(channel: String, data: Bytes = Bytes.EMPTY): JoinedRoom =
        translating { ffi.joinRoom(channel, data.unwrap()).toPublic() }

    /**
     * Leaves a room.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun leaveRoom(channel: String): Unit = translating { ffi.leaveRoom(channel) }

    /**
     * Watches these users, at most 500, and no others, and returns their presence. [Event.PresenceChanged] tells changes.
     *
     * @throws RequestException if there is no answer
     */
    public suspend fun watch(users: List<String>): List<UserPresence> =
        translating { ffi.watch(users).map { it.toPublic() } }

    /**
     * Signals something to a user's devices, to a channel that the user is a member of, or to a room that the device is in. Returns
     * `false` if it is not sent: there is no connection, or the receiver's id is not valid.
     */
    public suspend fun signal(to: Recipient, signal: Signal): Boolean = ffi.signal(to.toFfi(), signal.toFfi())

    /** Signals something to one device of a user, as [ReceivedSignal.device] names it. Returns `false` if it is not sent. */
    public suspend fun signalDevice(user: String, device: String, signal: Signal): Boolean =
        ffi.signalDevice(user, device, signal.toFfi())

    /** Ends the client for good and waits until that is done, for some seconds at most, also if the caller is cancelled. */
    public suspend fun shutdown(): Unit =
        withContext(NonCancellable) {
            ffi.shutdown()
            // The state comes from a task of its own: nobody is to see an older one from here on.
            currentState.first { it == State.CLOSED }
        }

    /** Blocks until the client is shut down. A coroutine calls [shutdown] instead. */
    override fun close(): Unit = runBlocking { shutdown() }

    /** Begins to take events from the bridge: not before they are wanted, so that lists can be made first. */
    private fun startTaking() {
        if (isTaking.compareAndSet(false, true)) {
            scope.launch {
                do {
                    queue.awaitRoom()
                    val batch = ffi.nextEvents(BATCH.toUInt()).map { it.toPublic() }
                    batch.forEach(::follow)
                    queue.put(batch)
                } while (batch.isNotEmpty())
                queue.end()
            }
        }
    }

    private fun follow(event: Event) {
        when (event) {
            is Event.UpToDate -> hasEverything.value = true
            is Event.Connected, is Event.Disconnected, is Event.Stopped -> hasEverything.value = false
            else -> {}
        }
    }

    private suspend fun followState() {
        while (currentState.value != State.CLOSED) {
            currentState.value = ffi.stateChanged(currentState.value.toFfi()).toPublic()
        }
        // The last events are few, and nobody may be there to make room.
        queue.lift()
    }

    public companion object {
        /**
         * Opens a client that is not connected yet. The network plays no part.
         *
         * @throws OpenException if the configuration is not valid, or the store cannot be opened
         */
        @JvmSynthetic
        public suspend fun open(config: ClientConfig, tokens: TokenProvider): Client =
            withContext(Dispatchers.IO) { openBlocking(config, tokens) }

        /** Opens a client as [open] does, and blocks: up to a second, if another process has the store. */
        @JvmStatic
        public fun openBlocking(config: ClientConfig, tokens: TokenProvider): Client =
            translating { Client(FfiClient.open(config.toFfi(), BridgedTokens(tokens))) }

        /** How many events are fetched at once. */
        internal const val BATCH = 256

        /** As many as the bridge itself lets wait. */
        private const val QUEUE_CAPACITY = 256

        private fun count(number: Int): UInt = number.coerceAtLeast(0).toUInt()
    }
}
