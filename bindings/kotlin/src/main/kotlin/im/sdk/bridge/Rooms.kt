package im.sdk.bridge

import im.sdk.Bytes
import im.sdk.CallStep
import im.sdk.JoinedRoom
import im.sdk.ReceivedSignal
import im.sdk.RoomLeftCause
import im.sdk.Signal
import im.sdk.TerminalPresence
import im.sdk.UserPresence
import im.sdk.ffi.CallStep as FfiCallStep
import im.sdk.ffi.JoinedRoom as FfiJoinedRoom
import im.sdk.ffi.ReceivedSignal as FfiReceivedSignal
import im.sdk.ffi.RoomLeftCause as FfiRoomLeftCause
import im.sdk.ffi.Signal as FfiSignal
import im.sdk.ffi.UserPresence as FfiUserPresence

internal fun FfiJoinedRoom.toPublic(): JoinedRoom =
    JoinedRoom(online.toLong(), Bytes.wrap(answer), recent.map { it.toPublic() })

internal fun FfiRoomLeftCause.toPublic(): RoomLeftCause =
    when (this) {
        FfiRoomLeftCause.KICKED -> RoomLeftCause.KICKED
        FfiRoomLeftCause.CLOSED -> RoomLeftCause.CLOSED
        FfiRoomLeftCause.REFUSED -> RoomLeftCause.REFUSED
        FfiRoomLeftCause.UNKNOWN -> RoomLeftCause.UNKNOWN
    }

internal fun FfiReceivedSignal.toPublic(): ReceivedSignal =
    ReceivedSignal(fromUser, device, channel, signal.toPublic())

private fun FfiSignal.toPublic(): Signal =
    when (this) {
        is FfiSignal.Typing -> Signal.Typing(stopped)
        is FfiSignal.Call -> Signal.Call(id, step.toPublic(), Bytes.wrap(data))
        is FfiSignal.Custom -> Signal.Custom(kind, Bytes.wrap(data))
        is FfiSignal.Unknown -> Signal.Unknown
    }

internal fun Signal.toFfi(): FfiSignal =
    when (this) {
        is Signal.Typing -> FfiSignal.Typing(isStopped)
        is Signal.Call -> FfiSignal.Call(id, step.toFfi(), data.unwrap())
        is Signal.Custom -> FfiSignal.Custom(kind, data.unwrap())
        Signal.Unknown -> FfiSignal.Unknown
    }

private fun FfiCallStep.toPublic(): CallStep =
    when (this) {
        FfiCallStep.RING -> CallStep.RING
        FfiCallStep.CANCEL -> CallStep.CANCEL
        FfiCallStep.BUSY -> CallStep.BUSY
        FfiCallStep.OFFER -> CallStep.OFFER
        FfiCallStep.ANSWER -> CallStep.ANSWER
        FfiCallStep.CANDIDATE -> CallStep.CANDIDATE
        FfiCallStep.HANGUP -> CallStep.HANGUP
        FfiCallStep.ANSWERED_ELSEWHERE -> CallStep.ANSWERED_ELSEWHERE
        FfiCallStep.UNKNOWN -> CallStep.UNKNOWN
    }

private fun CallStep.toFfi(): FfiCallStep =
    when (this) {
        CallStep.RING -> FfiCallStep.RING
        CallStep.CANCEL -> FfiCallStep.CANCEL
        CallStep.BUSY -> FfiCallStep.BUSY
        CallStep.OFFER -> FfiCallStep.OFFER
        CallStep.ANSWER -> FfiCallStep.ANSWER
        CallStep.CANDIDATE -> FfiCallStep.CANDIDATE
        CallStep.HANGUP -> FfiCallStep.HANGUP
        CallStep.ANSWERED_ELSEWHERE -> FfiCallStep.ANSWERED_ELSEWHERE
        CallStep.UNKNOWN -> FfiCallStep.UNKNOWN
    }

internal fun FfiUserPresence.toPublic(): UserPresence =
    UserPresence(user, terminals.map { TerminalPresence(it.terminal.toPublic(), it.online, it.lastSeenMs?.toLong()) })
