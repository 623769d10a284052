package im.sdk

/** How far a user has read. */
public data class ReadMark @JvmOverloads constructor(
    /** The last entry that was read; 0: none. */
    val seq: Long,
    /** The message there, if it is known. */
    val id: Long? = null,
)

/** The marks of a user in a conversation, the same on all of the user's devices. */
public data class ConversationState(
    /** The conversation. */
    val conversation: Recipient,
    /** The number of the user's change that led to this state. 0: nothing was set. */
    val version: Long,
    /** How far the user has read. It never goes back. */
    val read: ReadMark,
    /** In a conversation with a user: the last message that this user has read of it. */
    val peerRead: Long?,
    /** It stands before all that are not pinned. */
    val isPinned: Boolean,
    /** It does not count in the sum of unread messages, and should not notify. */
    val isMuted: Boolean,
    /** The draft: a text that the user has begun to type. */
    val draft: String,
    /** It is not in the list as long as nothing is behind this entry. */
    val hidden: Long,
    /** Entries up to this one are not shown to the user any more. */
    val deleted: Long,
    /** In a channel whose past is not for new members: entries up to this one are not shown either. */
    val joined: Long,
    /**
     * The channel was closed while the user was a member. It stays in the list, with its entries up to this one, until the user
     * deletes it.
     */
    val closed: Long?,
    /** The user wants to come back to it. Reading anything of it ends that. */
    val isMarkedUnread: Boolean,
    /** Where it is muted: only until then, in milliseconds since the Unix epoch. `null`: without an end. */
    val mutedUntilMillis: Long?,
    /** Of its unread messages only those that mention the user count in the sum. */
    val isMentionsOnly: Boolean,
)

/** Marks to set in a conversation. Those that are `null` stay as they are. */
public data class ConversationChange @JvmOverloads constructor(
    /** Everything up to here was read. */
    val read: ReadMark? = null,
    /** Before all that are not pinned, or back among them. */
    val pinned: Boolean? = null,
    /** Left out of the sum of unread messages, or counted again. */
    val muted: Boolean? = null,
    /** Where [muted] is true: only until then, in milliseconds since the Unix epoch. */
    val mutedUntilMillis: Long? = null,
    /** Only those of its unread messages that mention the user count in the sum, or all again. */
    val mentionsOnly: Boolean? = null,
    /** Marked as unread, to come back to it, or not any more. */
    val markedUnread: Boolean? = null,
    /** The draft, at most 1024 bytes; an empty one removes it. */
    val draft: String? = null,
    /** Out of the list until something is behind this entry; 0: back in it. */
    val hidden: Long? = null,
    /** Nothing up to this entry is shown to this user any more. */
    val deleted: Long? = null,
)

/** A conversation in the list. */
public data class ListedConversation(
    /** The conversation, and the user's marks in it. */
    val state: ConversationState,
    /** The last message that the user may see, after its last edit; without content if it was recalled. */
    val last: ReceivedMessage?,
    /** The id of the last edit of [last]. `null`: it was never edited. */
    val lastEdit: Long?,
    /** [last] was recalled: nobody is to see its content. */
    val lastRecalled: Recalled?,
    /** The end of the log that this is based on. */
    val end: Long,
    /** How many messages of others are behind what the user has read. */
    val unread: Int,
    /** There may be more unread messages than that. */
    val hasMoreUnread: Boolean,
    /** The places of the newest unread messages, in ascending order. */
    val unreadSeqs: List<Long>,
    /** The messages there. */
    val unreadIds: List<Long>,
    /** The places of the unread messages that mention the user. */
    val mentionSeqs: List<Long>,
)

/** The recall of a message. */
public data class Recalled(
    /** The id of the change. */
    val change: Long,
    /** The user that recalled it. `null`: the back end itself. */
    val byUser: String?,
)

/** A page of the user's conversations. */
public data class ConversationPage(
    /** Pinned ones first, then by their last messages, newest first. */
    val conversations: List<ListedConversation>,
    /** On the last pages: hidden and deleted ones. They count among those to skip for the next page. */
    val hidden: List<ListedConversation>,
    /** There are further ones. */
    val hasMore: Boolean,
    /** Unread messages in all conversations that are not muted, also beyond the page. */
    val unread: Unread,
)

/** A number of unread messages. */
public data class Unread(
    /** How many. */
    val count: Long,
    /** There may be more. */
    val hasMore: Boolean,
)

/** The readers of a message. */
public data class Readers(
    /** How many. */
    val count: Long,
    /** Some of them, or all. */
    val users: List<String>,
)

/** How far a member has read a channel. */
public data class ReadReceipt(
    /** The channel. */
    val channel: String,
    /** The member. */
    val user: String,
    /** The last entry that was read. */
    val seq: Long,
    /** The message there, if it is known. */
    val id: Long?,
)
