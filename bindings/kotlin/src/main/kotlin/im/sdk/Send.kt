package im.sdk

import im.sdk.bridge.toPublic
import im.sdk.ffi.SendHandle as FfiSendHandle
import im.sdk.ffi.SendState as FfiSendState
import im.sdk.ffi.UnsettledSend as FfiUnsettledSend

/** The answer of the back end that took a message. */
public data class Published(
    /** The id that the message got. `null`: the back end handled it without sending a message. */
    val messageId: Long?,
    /** The application's own answer, often empty. */
    val answer: Bytes,
)

/** A message that the client has taken, and its outcome. Letting go of it does not cancel the send. */
public class SendHandle internal constructor(private val ffi: FfiSendHandle) {
    /** The id of the send on this device. [Event.Published], [Event.PublishFailed] and [ReceivedMessage.localId] carry it. */
    public val localId: Long = ffi.localId().toLong()

    /**
     * Waits for the outcome, as long as it takes. [Client.shutdown] ends the wait.
     *
     * @throws PublishException says whether anything was sent
     */
    public suspend fun outcome(): Published = translating { ffi.outcome().toPublic() }

    /**
     * Forgets the send if it has failed, or was never handed to a connection. Returns `false` if it may be on its way, or is
     * settled.
     */
    public suspend fun discard(): Boolean = ffi.discard()

    /**
     * Sends anew what has failed, under a new id. The failed send is forgotten.
     *
     * @throws SendException if nothing is sent; the failed send stays
     */
    public suspend fun retry(): SendHandle = translating { SendHandle(ffi.retry()) }

    override fun equals(other: Any?): Boolean = other is SendHandle && localId == other.localId

    override fun hashCode(): Int = localId.hashCode()

    override fun toString(): String = "SendHandle(localId=$localId)"
}

/** A send that is not settled. */
public data class UnsettledSend(
    /** Its handle, to wait for its outcome, discard it or retry it. */
    val handle: SendHandle,
    /** The receiver. */
    val to: Recipient,
    /** The content. */
    val content: Content,
    /** Its state. */
    val state: SendState,
    /** The reason why it has failed, if it has. */
    val failure: SendFailure?,
)

/** The reason why a send has failed for good. */
public data class SendFailure(
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
)

/** The states of a send that is not settled. */
public enum class SendState {
    /** It waits for a connection, or for an earlier send to the same receiver. */
    PENDING,

    /** It was handed to a connection, and no answer has come. */
    SENT,

    /** It failed for good. */
    FAILED,
}

internal fun FfiUnsettledSend.toPublic(): UnsettledSend =
    UnsettledSend(
        SendHandle(handle), to.toPublic(), content.toPublic(), state.toPublic(),
        failure?.run { SendFailure(code, reason, kind?.toPublic(), ruleCode, retryable) },
    )

private fun FfiSendState.toPublic(): SendState =
    when (this) {
        FfiSendState.PENDING -> SendState.PENDING
        FfiSendState.SENT -> SendState.SENT
        FfiSendState.FAILED -> SendState.FAILED
    }
