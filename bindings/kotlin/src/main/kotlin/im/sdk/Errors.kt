package im.sdk

import im.sdk.ffi.InvalidContent as FfiInvalidContent
import im.sdk.ffi.MarkException as FfiMarkException
import im.sdk.ffi.OpenException as FfiOpenException
import im.sdk.ffi.PublishException as FfiPublishException
import im.sdk.ffi.RequestException as FfiRequestException
import im.sdk.ffi.SendException as FfiSendException
import im.sdk.bridge.toPublic

/** A failure of the SDK. Its message says what happened and what to do. */
public sealed class ImException(
    /** A name that stays the same over versions and languages, such as `timed_out`. */
    public val code: String,
    message: String,
) : Exception(message)

/**
 * A client could not be opened, or could not be told where servers listen: `no_endpoints`, `invalid_config`, `no_runtime`, `tls` or
 * `store`.
 */
public class OpenException internal constructor(code: String, message: String) : ImException(code, message)

/**
 * A send was not taken. Nothing was sent, and nothing will be: `invalid_id`, `queue_full`, `too_large`, `no_content`, `store`,
 * `not_failed` or `closed`.
 */
public class SendException internal constructor(code: String, message: String) : ImException(code, message)

/**
 * A send did not succeed. With `invalid_id`, `queue_full`, `too_large`, `no_content`, `timed_out`, `not_connected`, `refused`,
 * `discarded`, `store`, `stopped` and `closed` it is certain that nothing came of it. With `unconfirmed` it may have arrived:
 * sending it again may send it twice.
 */
public class PublishException internal constructor(
    code: String,
    message: String,
    /** The refusal, for the code `refused`. */
    public val refusal: Refusal?,
    /** Whether a retry may succeed and cannot arrive twice. */
    public val isRetryable: Boolean,
) : ImException(code, message)

/**
 * A request has no answer; asking again is always safe: `invalid_id`, `queue_full`, `timed_out`, `refused`, `too_large`,
 * `too_many_rooms`, `stopped`, `not_connected` or `closed`.
 */
public class RequestException internal constructor(
    code: String,
    message: String,
    /** The refusal, for the code `refused`. */
    public val refusal: Refusal?,
) : ImException(code, message)

/** Nothing was set in a conversation: `invalid_id`, `draft_too_long`, `queue_full` or `closed`. */
public class MarkException internal constructor(code: String, message: String) : ImException(code, message)

/** A content or a reference is not valid: `invalid`. */
public class InvalidContentException internal constructor(message: String) : ImException("invalid", message)

/** The application has no token. A [TokenProvider] throws it. */
public sealed class TokenException(code: String, message: String) : ImException(code, message) {
    /** There is no token at the moment. The client asks again, with backoff. Any other exception counts as this. */
    public class Unavailable(message: String) : TokenException("unavailable", message)

    /** There will be no token. The client stops. */
    public class Denied(message: String) : TokenException("denied", message)
}

/** The word of a server or a back end that refused. */
public data class Refusal(
    /** The kind, for programs. */
    val kind: RefusalKind,
    /** The reason, for people. */
    val reason: String,
    /** The application's own code for a [RefusalKind.RULE], 0 or more, or a negative one of the SDK; otherwise 0. */
    val ruleCode: Int,
    /** The time after which the same may be tried again. `null`: never. */
    val retryAfterMillis: Long?,
)

/** The kinds of refusals. */
public enum class RefusalKind {
    /** The back end's rules say no. */
    RULE,

    /** No back end is listening, or it did not answer in time. */
    UNAVAILABLE,

    /** The request makes no sense. */
    INVALID,

    /** Too many requests wait for their results, or come too fast. */
    TOO_MANY,

    /** No back end is listening, so nothing was done. */
    NO_BACKEND,

    /** The number of the message was used for another one, as after a store was restored from a backup. */
    NUMBER_USED,

    /** The back end failed while it handled the request. */
    INTERNAL,

    /** A kind that this version does not know. */
    UNKNOWN,
}

/** Runs [block] and throws public exceptions for those of the bridge. */
internal inline fun <T> translating(block: () -> T): T =
    try {
        block()
    } catch (failure: FfiOpenException) {
        throw failure.toPublic()
    } catch (failure: FfiSendException) {
        throw failure.toPublic()
    } catch (failure: FfiPublishException) {
        throw failure.toPublic()
    } catch (failure: FfiRequestException) {
        throw failure.toPublic()
    } catch (failure: FfiMarkException) {
        throw failure.toPublic()
    } catch (failure: FfiInvalidContent) {
        throw failure.toPublic()
    }
