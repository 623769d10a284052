package im.sdk.bridge

import im.sdk.Bytes
import im.sdk.Event
import im.sdk.Published
import im.sdk.State
import im.sdk.ffi.Event as FfiEvent
import im.sdk.ffi.State as FfiState

internal fun FfiEvent.toPublic(): Event =
    when (this) {
        is FfiEvent.Connected -> Event.Connected(user, transport.toPublic(), endpoint)
        is FfiEvent.Disconnected -> Event.Disconnected(code?.toInt(), reason, retryInMs?.toLong())
        is FfiEvent.Message -> Event.Message(message.toPublic())
        is FfiEvent.UpToDate -> Event.UpToDate
        is FfiEvent.Reset -> Event.Reset(position.toPublic(), reason.toPublic())
        is FfiEvent.ConversationsChanged -> Event.ConversationsChanged(states.map { it.toPublic() })
        is FfiEvent.ChannelRead -> Event.ChannelRead(receipt.toPublic())
        is FfiEvent.Signal -> Event.SignalReceived(signal.toPublic())
        is FfiEvent.Presence -> Event.PresenceChanged(presence.toPublic())
        is FfiEvent.RoomLeft -> Event.RoomLeft(channel, cause.toPublic(), reason, ruleCode)
        is FfiEvent.Published -> Event.Published(localId.toLong(), published(messageId, answer))
        is FfiEvent.PublishFailed ->
            Event.PublishFailed(localId.toLong(), code, reason, kind?.toPublic(), ruleCode, retryable)
        is FfiEvent.Stopped -> Event.Stopped(code?.toInt(), cause, reason)
        is FfiEvent.Unknown -> Event.Unknown
    }

internal fun published(messageId: ULong?, answer: ByteArray): Published =
    Published(messageId?.toLong(), Bytes.wrap(answer))

internal fun FfiState.toPublic(): State =
    when (this) {
        FfiState.DISCONNECTED -> State.DISCONNECTED
        FfiState.CONNECTING -> State.CONNECTING
        FfiState.CONNECTED -> State.CONNECTED
        FfiState.WAITING -> State.WAITING
        FfiState.STOPPED -> State.STOPPED
        FfiState.CLOSED -> State.CLOSED
    }

internal fun State.toFfi(): FfiState =
    when (this) {
        State.DISCONNECTED -> FfiState.DISCONNECTED
        State.CONNECTING -> FfiState.CONNECTING
        State.CONNECTED -> FfiState.CONNECTED
        State.WAITING -> FfiState.WAITING
        State.STOPPED -> FfiState.STOPPED
        State.CLOSED -> FfiState.CLOSED
    }
