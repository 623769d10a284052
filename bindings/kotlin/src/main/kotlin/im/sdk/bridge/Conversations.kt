package im.sdk.bridge

import im.sdk.ConversationChange
import im.sdk.ConversationPage
import im.sdk.ConversationState
import im.sdk.ListedConversation
import im.sdk.ReadMark
import im.sdk.ReadReceipt
import im.sdk.Readers
import im.sdk.Recalled
import im.sdk.Unread
import im.sdk.ffi.ConversationChange as FfiConversationChange
import im.sdk.ffi.ConversationPage as FfiConversationPage
import im.sdk.ffi.ConversationState as FfiConversationState
import im.sdk.ffi.ListedConversation as FfiListedConversation
import im.sdk.ffi.ReadMark as FfiReadMark
import im.sdk.ffi.ReadReceipt as FfiReadReceipt
import im.sdk.ffi.Readers as FfiReaders
import im.sdk.ffi.Unread as FfiUnread

internal fun FfiConversationState.toPublic(): ConversationState =
    ConversationState(
        conversation = conversation.toPublic(),
        version = version.toLong(),
        read = ReadMark(read.seq.toLong(), read.id?.toLong()),
        peerRead = peerRead?.toLong(),
        isPinned = pinned,
        isMuted = muted,
        draft = draft,
        hidden = hidden.toLong(),
        deleted = deleted.toLong(),
        joined = joined.toLong(),
        closed = closed?.toLong(),
        isMarkedUnread = markedUnread,
        mutedUntilMillis = mutedUntilMs?.toLong(),
        isMentionsOnly = mentionsOnly,
    )

internal fun ConversationChange.toFfi(): FfiConversationChange =
    FfiConversationChange(
        read = read?.let { FfiReadMark(it.seq.toULong(), it.id?.toULong()) },
        pinned = pinned,
        muted = muted,
        mutedUntilMs = mutedUntilMillis?.toULong(),
        mentionsOnly = mentionsOnly,
        markedUnread = markedUnread,
        draft = draft,
        hidden = hidden?.toULong(),
        deleted = deleted?.toULong(),
    )

internal fun FfiListedConversation.toPublic(): ListedConversation =
    ListedConversation(
        state = state.toPublic(),
        last = last?.toPublic(),
        lastEdit = lastEdit?.toLong(),
        lastRecalled = lastRecalled?.let { Recalled(it.change.toLong(), it.byUser) },
        end = end.toLong(),
        unread = unread.toInt(),
        hasMoreUnread = unreadMore,
        unreadSeqs = unreadSeqs.map { it.toLong() },
        unreadIds = unreadIds.map { it.toLong() },
        mentionSeqs = mentionSeqs.map { it.toLong() },
    )

internal fun FfiConversationPage.toPublic(): ConversationPage =
    ConversationPage(
        conversations = conversations.map { it.toPublic() },
        hidden = hidden.map { it.toPublic() },
        hasMore = more,
        unread = Unread(unread.toLong(), unreadMore),
    )

internal fun FfiUnread.toPublic(): Unread = Unread(count.toLong(), more)

internal fun FfiReaders.toPublic(): Readers = Readers(count.toLong(), users)

internal fun FfiReadReceipt.toPublic(): ReadReceipt = ReadReceipt(channel, user, seq.toLong(), id?.toLong())
