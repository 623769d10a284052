package im.sdk

/** A room that the device has joined. */
public data class JoinedRoom(
    /** About how many devices are in the room. */
    val online: Long,
    /** The application's own answer, often empty. */
    val answer: Bytes,
    /** The last messages, in order, as far as the back end sends them. */
    val recent: List<ReceivedMessage>,
)

/** The causes for which a device is not in a room any more. */
public enum class RoomLeftCause {
    /** The back end has taken the user out. */
    KICKED,

    /** The room is closed. */
    CLOSED,

    /** The device came back over a new connection and was not let in again. */
    REFUSED,

    /** A cause that this version does not know. */
    UNKNOWN,
}

/** Something for the moment, which is kept nowhere. */
public sealed interface Signal {
    /** The user is typing. Signal it again every few seconds. */
    public data class Typing @JvmOverloads constructor(
        /** The user has stopped typing. */
        val isStopped: Boolean = false,
    ) : Signal

    /** One step of setting a call up or ending it. */
    public data class Call @JvmOverloads constructor(
        /** The call's name, the same for all of its steps. */
        val id: String,
        /** The step. */
        val step: CallStep,
        /** The data of the devices' media libraries. */
        val data: Bytes = Bytes.EMPTY,
    ) : Signal

    /** A kind that the application defines. */
    public data class Custom(
        /** The application's name for the kind. */
        val kind: String,
        /** The application's bytes. */
        val data: Bytes,
    ) : Signal

    /** A kind that this version does not know. It cannot be sent. */
    public data object Unknown : Signal
}

/** The steps of a call. */
public enum class CallStep {
    /** To all devices of a user: somebody calls. */
    RING,

    /** The caller has given up. */
    CANCEL,

    /** The user does not take the call. */
    BUSY,

    /** The offer of the calling device. */
    OFFER,

    /** The answer of the device that takes the call. */
    ANSWER,

    /** A way by which the devices may reach each other. */
    CANDIDATE,

    /** The call is over. */
    HANGUP,

    /** Another device of this user has answered, or has said that it is busy. Stop ringing. */
    ANSWERED_ELSEWHERE,

    /** A step that this version does not know. */
    UNKNOWN,
}

/** A signal of another device. */
public data class ReceivedSignal(
    /** The user whose device sent it. */
    val fromUser: String,
    /** The device, such as `ios/4f1c`, for [Client.signalDevice]. */
    val device: String,
    /** The channel that it was sent to. `null`: to this user. */
    val channel: String?,
    /** The signal itself. */
    val signal: Signal,
)

/** The presence of a user. */
public data class UserPresence(
    /** The user. */
    val user: String,
    /** The kinds of devices that are connected, or were. */
    val terminals: List<TerminalPresence>,
) {
    /** At least one device is connected. */
    val isOnline: Boolean get() = terminals.any { it.isOnline }
}

/** The presence of one kind of device of a user. */
public data class TerminalPresence(
    /** The kind. */
    val terminal: Terminal,
    /** At least one device of this kind is connected. */
    val isOnline: Boolean,
    /** When the last one was disconnected, in milliseconds since the Unix epoch. `null`: not known. */
    val lastSeenMillis: Long?,
)
