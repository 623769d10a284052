package im.sdk

/** A part of a log. */
public sealed interface HistoryRange {
    /** The last entries. */
    public data object Newest : HistoryRange

    /** The entries with lower seqs, the highest of them first. */
    public data class Before(
        /** The first seq that is not among them. */
        val seq: Long,
    ) : HistoryRange

    /** The entries with higher seqs, the lowest of them first. */
    public data class After(
        /** The last seq that is not among them; 0: from the beginning. */
        val seq: Long,
    ) : HistoryRange
}

/** A kind of content, to ask for. */
public sealed interface Kind {
    /** One of the protocol's own kinds. */
    public data class Number(
        /** The number of its field in the protocol's `Content`: 1 is text. */
        val number: Int,
    ) : Kind

    /** A kind that the application defines. */
    public data class Custom(
        /** The application's name for it. */
        val name: String,
    ) : Kind
}

/** A query for messages of a conversation. Without [beforeMessage] and [afterMessage], those of [range]. */
public data class HistoryQuery @JvmOverloads constructor(
    /** The part of the log. */
    val range: HistoryRange = HistoryRange.Newest,
    /** Instead of [range]: the entries before the one with this message. */
    val beforeMessage: Long? = null,
    /** Instead of [range]: the entries after the one with this message. */
    val afterMessage: Long? = null,
    /** Only messages of that time or later, in milliseconds since the Unix epoch. */
    val sinceMillis: Long? = null,
    /** Only messages from before that time, in milliseconds since the Unix epoch. */
    val untilMillis: Long? = null,
    /** Only these kinds; all if empty. */
    val kinds: List<Kind> = emptyList(),
)

/** A page of the past. */
public data class HistoryPage(
    /** The messages in the order of the log, whatever the direction, each with its position. */
    val messages: List<ReceivedMessage>,
    /** Reactions to these messages and their pins, also those that stand on newer pages: for a [Timeline]. */
    val changes: List<ReceivedMessage>,
    /**
     * Where to go on in the direction that was asked for, also behind a page with few messages or none. `null`: that was all.
     */
    val next: HistoryRange?,
)

/** A search for messages. */
public data class Search @JvmOverloads constructor(
    /** Words, separated by spaces. */
    val text: String,
    /** Only in this conversation; `null`: in all that the user may see. */
    val conversation: Conversation? = null,
    /** Only these kinds; all if empty. */
    val kinds: List<Kind> = emptyList(),
    /** Only messages of this user. */
    val from: String? = null,
    /** Only messages of that time or later, in milliseconds since the Unix epoch. */
    val sinceMillis: Long? = null,
    /** Only messages from before that time, in milliseconds since the Unix epoch. */
    val untilMillis: Long? = null,
    /** Goes on where a page ended: its [FoundPage.next]. */
    val before: SearchPlace? = null,
)

/** How far a search has come. */
public data class SearchPlace(
    /** The channel of the last message that was looked at; `null`: it was in the inbox. */
    val channel: String?,
    /** The last message that was looked at. */
    val messageId: Long,
)

/** A page of messages that were found. */
public data class FoundPage(
    /** The newest first, each with its position in its log. */
    val messages: List<ReceivedMessage>,
    /** Where to go on. `null`: that was all. */
    val next: SearchPlace?,
)
