package im.sdk.bridge

import im.sdk.InvalidContentException
import im.sdk.MarkException
import im.sdk.OpenException
import im.sdk.PublishException
import im.sdk.Refusal
import im.sdk.RefusalKind
import im.sdk.RequestException
import im.sdk.SendException
import im.sdk.TokenException
import im.sdk.ffi.InvalidContent as FfiInvalidContent
import im.sdk.ffi.MarkException as FfiMarkException
import im.sdk.ffi.OpenException as FfiOpenException
import im.sdk.ffi.PublishException as FfiPublishException
import im.sdk.ffi.RefusalKind as FfiRefusalKind
import im.sdk.ffi.RequestException as FfiRequestException
import im.sdk.ffi.SendException as FfiSendException
import im.sdk.ffi.TokenException as FfiTokenException

internal fun FfiOpenException.toPublic(): OpenException {
    val reason = when (this) {
        is FfiOpenException.NoEndpoints -> reason
        is FfiOpenException.InvalidConfig -> reason
        is FfiOpenException.NoRuntime -> "the runtime cannot be started: $reason"
        is FfiOpenException.Tls -> reason
        is FfiOpenException.Store -> reason
    }
    return OpenException(code(), reason)
}

internal fun FfiSendException.toPublic(): SendException {
    val reason = when (this) {
        is FfiSendException.InvalidId -> reason
        is FfiSendException.QueueFull -> reason
        is FfiSendException.TooLarge -> reason
        is FfiSendException.NoContent -> reason
        is FfiSendException.Store -> reason
        is FfiSendException.NotFailed -> reason
        is FfiSendException.Closed -> reason
    }
    return SendException(code(), reason)
}

internal fun FfiPublishException.toPublic(): PublishException {
    val reason = when (this) {
        is FfiPublishException.InvalidId -> reason
        is FfiPublishException.QueueFull -> reason
        is FfiPublishException.TooLarge -> reason
        is FfiPublishException.NoContent -> reason
        is FfiPublishException.TimedOut -> reason
        is FfiPublishException.NotConnected -> reason
        is FfiPublishException.Unconfirmed -> reason
        is FfiPublishException.Refused -> "the message was refused: $reason"
        is FfiPublishException.Discarded -> reason
        is FfiPublishException.Store -> reason
        is FfiPublishException.Stopped -> reason
        is FfiPublishException.Closed -> reason
    }
    val refusal = (this as? FfiPublishException.Refused)?.let {
        Refusal(it.kind.toPublic(), it.reason, it.ruleCode, it.retryAfterMs?.toLong())
    }
    return PublishException(code(), reason, refusal, isRetryable())
}

internal fun FfiRequestException.toPublic(): RequestException {
    val reason = when (this) {
        is FfiRequestException.InvalidId -> reason
        is FfiRequestException.QueueFull -> reason
        is FfiRequestException.TimedOut -> reason
        is FfiRequestException.Refused -> "the request was refused: $reason"
        is FfiRequestException.TooLarge -> reason
        is FfiRequestException.TooManyRooms -> reason
        is FfiRequestException.Stopped -> reason
        is FfiRequestException.NotConnected -> reason
        is FfiRequestException.Closed -> reason
    }
    val refusal = (this as? FfiRequestException.Refused)?.let {
        Refusal(it.kind.toPublic(), it.reason, it.ruleCode, it.retryAfterMs?.toLong())
    }
    return RequestException(code(), reason, refusal)
}

internal fun FfiMarkException.toPublic(): MarkException {
    val reason = when (this) {
        is FfiMarkException.InvalidId -> reason
        is FfiMarkException.DraftTooLong -> reason
        is FfiMarkException.QueueFull -> reason
        is FfiMarkException.Closed -> reason
    }
    return MarkException(code(), reason)
}

internal fun FfiInvalidContent.toPublic(): InvalidContentException =
    when (this) {
        is FfiInvalidContent.Invalid -> InvalidContentException(reason)
    }

internal fun TokenException.toFfi(): FfiTokenException {
    val reason = message.orEmpty()
    return when (this) {
        is TokenException.Unavailable -> FfiTokenException.Unavailable(reason)
        is TokenException.Denied -> FfiTokenException.Denied(reason)
    }
}

internal fun FfiRefusalKind.toPublic(): RefusalKind =
    when (this) {
        FfiRefusalKind.RULE -> RefusalKind.RULE
        FfiRefusalKind.UNAVAILABLE -> RefusalKind.UNAVAILABLE
        FfiRefusalKind.INVALID -> RefusalKind.INVALID
        FfiRefusalKind.TOO_MANY -> RefusalKind.TOO_MANY
        FfiRefusalKind.NO_BACKEND -> RefusalKind.NO_BACKEND
        FfiRefusalKind.NUMBER_USED -> RefusalKind.NUMBER_USED
        FfiRefusalKind.INTERNAL -> RefusalKind.INTERNAL
        FfiRefusalKind.UNKNOWN -> RefusalKind.UNKNOWN
    }
