package im.sdk.bridge

import im.sdk.Conversation
import im.sdk.MessageRef
import im.sdk.Position
import im.sdk.Published
import im.sdk.ReceivedMessage
import im.sdk.Recipient
import im.sdk.ResetReason
import im.sdk.Transport
import im.sdk.ffi.Conversation as FfiConversation
import im.sdk.ffi.MessageRef as FfiMessageRef
import im.sdk.ffi.Position as FfiPosition
import im.sdk.ffi.Published as FfiPublished
import im.sdk.ffi.ReceivedMessage as FfiReceivedMessage
import im.sdk.ffi.Recipient as FfiRecipient
import im.sdk.ffi.ResetReason as FfiResetReason
import im.sdk.ffi.Transport as FfiTransport

internal fun FfiReceivedMessage.toPublic(): ReceivedMessage =
    ReceivedMessage(
        id = id.toLong(),
        fromUser = fromUser,
        toUser = toUser,
        channel = channel,
        content = content.toPublic(),
        localId = localId?.toLong(),
        transport = transport.toPublic(),
        position = position?.toPublic(),
    )

internal fun ReceivedMessage.toFfi(): FfiReceivedMessage =
    FfiReceivedMessage(
        id = id.toULong(),
        fromUser = fromUser,
        toUser = toUser,
        channel = channel,
        content = content.toFfi(),
        localId = localId?.toULong(),
        transport = transport.toFfi(),
        position = position?.toFfi(),
    )

internal fun FfiPosition.toPublic(): Position = Position(channel, seq.toLong(), id?.toLong())

internal fun Position.toFfi(): FfiPosition = FfiPosition(channel, seq.toULong(), id?.toULong())

internal fun FfiMessageRef.toPublic(): MessageRef {
    val conversation = toChannel?.let(Recipient::Channel) ?: Recipient.User(toUser.orEmpty())
    return MessageRef(conversation, id.toLong(), seq.toLong())
}

internal fun MessageRef.toFfi(): FfiMessageRef =
    FfiMessageRef(
        toUser = (conversation as? Recipient.User)?.id,
        toChannel = (conversation as? Recipient.Channel)?.id,
        id = id.toULong(),
        seq = seq.toULong(),
    )

internal fun FfiRecipient.toPublic(): Recipient =
    when (this) {
        is FfiRecipient.User -> Recipient.User(user)
        is FfiRecipient.Channel -> Recipient.Channel(channel)
    }

internal fun Recipient.toFfi(): FfiRecipient =
    when (this) {
        is Recipient.User -> FfiRecipient.User(id)
        is Recipient.Channel -> FfiRecipient.Channel(id)
    }

internal fun Conversation.toFfiConversation(): FfiConversation =
    when (this) {
        is Recipient.User -> FfiConversation.User(id)
        is Recipient.Channel -> FfiConversation.Channel(id)
        Conversation.Inbox -> FfiConversation.Inbox
    }

internal fun FfiPublished.toPublic(): Published = published(messageId, answer)

internal fun FfiTransport.toPublic(): Transport =
    when (this) {
        FfiTransport.QUIC -> Transport.QUIC
        FfiTransport.WEB_SOCKET -> Transport.WEB_SOCKET
    }

private fun Transport.toFfi(): FfiTransport =
    when (this) {
        Transport.QUIC -> FfiTransport.QUIC
        Transport.WEB_SOCKET -> FfiTransport.WEB_SOCKET
    }

internal fun FfiResetReason.toPublic(): ResetReason =
    when (this) {
        FfiResetReason.NEW -> ResetReason.NEW
        FfiResetReason.TRIMMED -> ResetReason.TRIMMED
        FfiResetReason.FORKED -> ResetReason.FORKED
        FfiResetReason.LEFT -> ResetReason.LEFT
    }
