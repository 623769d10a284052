package im.sdk

import im.sdk.bridge.toFfi
import im.sdk.bridge.toPublic
import im.sdk.ffi.Client as FfiClient
import im.sdk.ffi.ConversationList as FfiConversationList
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.map

/**
 * The list of conversations, with last messages and unread counts. [Client.conversationList] makes one.
 *
 * It follows the client's events. [load] it when [needsLoading] says so: at first, and after an event whose effect it cannot know.
 */
public class ConversationList internal constructor(
    private val client: FfiClient,
    private val ffi: FfiConversationList,
    private val batches: StateFlow<Long>,
) {
    /** The list has to be loaded. */
    public val needsLoading: Boolean get() = ffi.needsLoading()

    /** The number of unread messages in all conversations that are in the list and not muted. */
    public val unread: Unread get() = ffi.unread().toPublic()

    /** Counts unread messages as at a time, in milliseconds since the Unix epoch: some conversations are muted until then only. */
    public fun unreadAt(nowMillis: Long): Unread = ffi.unreadAt(nowMillis.toULong()).toPublic()

    /**
     * Loads the whole list, page by page. Until that is done it shows what it showed before. Of several attempts at once the last
     * one counts.
     *
     * @throws RequestException if it still needs loading
     */
    public suspend fun load(): Unit = translating { ffi.load(client) }

    /** Returns the conversations: pinned ones first, then by their last messages, newest first. */
    public fun conversations(): List<ListedConversation> = ffi.conversations().map { it.toPublic() }

    /** Returns a conversation, also if it is hidden. */
    public operator fun get(conversation: Recipient): ListedConversation? = ffi.get(conversation.toFfi())?.toPublic()

    /** The conversations, now and after each change. A slow collector gets the last state and misses those between. */
    public val updates: Flow<List<ListedConversation>> =
        batches.map { conversations() }.conflate().distinctUntilChanged()
}
