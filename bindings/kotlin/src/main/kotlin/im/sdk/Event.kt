package im.sdk

/** The client's news, in the order in which they happened. */
public sealed interface Event {
    /** A server has welcomed the device: messages flow from here on. */
    public data class Connected(
        /** The user that the token names. */
        val user: String,
        /** The transport of the connection. */
        val transport: Transport,
        /** The server's endpoint. */
        val endpoint: String,
    ) : Event

    /** The connection ended, or an attempt to make one failed. */
    public data class Disconnected(
        /** The close code; `null` after a network error. */
        val code: Int?,
        /** The reason, for people. */
        val reason: String,
        /** The time until the next attempt. `null`: the application itself disconnected. */
        val retryInMillis: Long?,
    ) : Event

    /** A message came. */
    public data class Message(
        /** The message. */
        val message: ReceivedMessage,
    ) : Event

    /** Everything that was in the logs when the connection began has come. Once for each connection. */
    public data object UpToDate : Event

    /** A log goes on elsewhere: what the application has of it does not lead on to what comes next. */
    public data class Reset(
        /** The next entry is the one after this. */
        val position: Position,
        /** The reason. */
        val reason: ResetReason,
    ) : Event

    /**
     * Something was set in conversations, or the other user has read further. Each state is complete, and replaces an earlier one
     * with a lower version.
     */
    public data class ConversationsChanged(
        /** The new states. */
        val states: List<ConversationState>,
    ) : Event

    /** A member has read further in a channel of few members. The event may get lost. */
    public data class ChannelRead(
        /** The member, and how far. */
        val receipt: ReadReceipt,
    ) : Event

    /** Another device signalled something. */
    public data class SignalReceived(
        /** The signal. */
        val signal: ReceivedSignal,
    ) : Event

    /** The presence of a user that the device watches has changed. */
    public data class PresenceChanged(
        /** The presence. */
        val presence: UserPresence,
    ) : Event

    /** The device is not in a room any more, and did not ask for that. */
    public data class RoomLeft(
        /** The room. */
        val channel: String,
        /** The cause. */
        val cause: RoomLeftCause,
        /** The reason, for people. */
        val reason: String,
        /** The application's own code, where a handler of its refused to let the device in again; otherwise 0. */
        val ruleCode: Int,
    ) : Event

    /** The back end has taken a send. */
    public data class Published(
        /** The id of the send: [SendHandle.localId]. */
        val localId: Long,
        /** The outcome. */
        val published: im.sdk.Published,
    ) : Event

    /** A send failed for good. It stays among the [unsettled ones][Client.unsettledSends] until it is discarded or retried. */
    public data class PublishFailed(
        /** The id of the send: [SendHandle.localId]. */
        val localId: Long,
        /** The name of the error that stays the same over versions and languages: [ImException.code]. */
        val code: String,
        /** The reason, for people. */
        val reason: String,
        /** The kind of the refusal, if it was refused. */
        val refusal: RefusalKind?,
        /** The application's own code for a [RefusalKind.RULE], 0 or more, or a negative one of the SDK; otherwise 0. */
        val ruleCode: Int,
        /** Whether a retry may succeed and cannot arrive twice. */
        val isRetryable: Boolean,
    ) : Event

    /** The client stays away until [Client.connect]. */
    public data class Stopped(
        /** The close code; `null` if no server was the reason. */
        val code: Int?,
        /**
         * The cause, for programs: `server`, `token`, `other_user`, `failed`, or of the store `store_in_use`, `store_unreadable`,
         * `store_damaged`, `store_full` or `store_failed`.
         */
        val cause: String,
        /** The reason, for people. */
        val reason: String,
    ) : Event

    /** An event that this version does not know. */
    public data object Unknown : Event
}

/** The states of a client. */
public enum class State {
    /** The application has not asked for a connection. */
    DISCONNECTED,

    /** A connection is being made. */
    CONNECTING,

    /** A server has welcomed the device. */
    CONNECTED,

    /** The next attempt follows after a delay. */
    WAITING,

    /** The client stays away: see [Event.Stopped]. */
    STOPPED,

    /** The client is closed for good. */
    CLOSED,
}

/** The reasons why a log goes on elsewhere. */
public enum class ResetReason {
    /** The device did not follow the log before. */
    NEW,

    /** The log does not reach back to what the device has. */
    TRIMMED,

    /** The log was rolled back. */
    FORKED,

    /** The user is not a member of the channel any more. The device has stopped following the log. */
    LEFT,
}
