package im.sdk

import im.sdk.bridge.toFfi
import im.sdk.bridge.toPublic

/** The receiver of a message, which also names the conversation. */
public sealed interface Recipient : Conversation {
    /** A user. */
    public data class User(
        /** The user's id. */
        val id: String,
    ) : Recipient

    /** The members of a group, or a room. */
    public data class Channel(
        /** The channel's id. */
        val id: String,
    ) : Recipient
}

/** A conversation whose messages are asked for: that with a [Recipient], or the whole [Inbox]. */
public sealed interface Conversation {
    /** Everything in the user's inbox. */
    public data object Inbox : Conversation
}

/** A message that has come. */
public data class ReceivedMessage(
    /** Its id: 63 bits, unique, roughly in order of time. */
    val id: Long,
    /** The sender. `null`: the back end itself. */
    val fromUser: String?,
    /** The user that it is addressed to. `null`: this user as one of several, or as a member of [channel]. */
    val toUser: String?,
    /** The channel that it was sent to. */
    val channel: String?,
    /** Its content. */
    val content: Content,
    /** The id of the send, if this device has sent the message, also before a restart. */
    val localId: Long?,
    /** The transport that it came over. */
    val transport: Transport,
    /** Its place in a log, to acknowledge. `null`: it is in no log. */
    val position: Position?,
) {
    /** The text, if the content is one. */
    val text: String? get() = content.text

    /** When it was sent, in milliseconds since the Unix epoch. The id tells. */
    val sentAtMillis: Long get() = im.sdk.ffi.messageUnixMs(id.toULong())?.toLong() ?: 0

    /**
     * Makes the reference by which to change the message. [me] is the user whose device this is. `null`: the message is in no log,
     * and cannot be changed.
     */
    public fun reference(me: String): MessageRef? = im.sdk.ffi.messageRef(toFfi(), me)?.toPublic()

    /**
     * Makes a quote for a message into the same conversation, which the back end can verify if the message is in a log.
     *
     * @throws InvalidContentException if the message was not received like this
     */
    public fun quote(): Quote = translating { im.sdk.ffi.quoteMessage(toFfi()).toPublic() }

    /**
     * Makes an entry of [Body.Forwarded], which the back end can verify if the message is in a log.
     *
     * @throws InvalidContentException if the message was not received like this
     */
    public fun forward(): ForwardedEntry = translating { im.sdk.ffi.forwardMessage(toFfi()).toPublic() }
}

/** The place of a message, by which to change it. */
public data class MessageRef(
    /** The conversation: the other user, or the channel; oneself, where there is no other. */
    val conversation: Recipient,
    /** The message. */
    val id: Long,
    /** Its place in this user's log of the conversation. */
    val seq: Long,
)

/** A place in a log. */
public data class Position(
    /** The channel; empty for the user's inbox. */
    val channel: String,
    /** The number of the entry, counted from 1, without holes. 0: before the first entry. */
    val seq: Long,
    /** The message there, if it is known. */
    val id: Long?,
)

/** The transports. */
public enum class Transport {
    /** QUIC. */
    QUIC,

    /** WebSocket. */
    WEB_SOCKET,
}
