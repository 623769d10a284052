package im.sdk.bridge

import im.sdk.FoundPage
import im.sdk.HistoryPage
import im.sdk.HistoryQuery
import im.sdk.HistoryRange
import im.sdk.Kind
import im.sdk.Search
import im.sdk.SearchPlace
import im.sdk.ffi.FoundPage as FfiFoundPage
import im.sdk.ffi.HistoryPage as FfiHistoryPage
import im.sdk.ffi.HistoryQuery as FfiHistoryQuery
import im.sdk.ffi.HistoryRange as FfiHistoryRange
import im.sdk.ffi.Kind as FfiKind
import im.sdk.ffi.Search as FfiSearch
import im.sdk.ffi.SearchPlace as FfiSearchPlace

internal fun FfiHistoryRange.toPublic(): HistoryRange =
    when (this) {
        is FfiHistoryRange.Newest -> HistoryRange.Newest
        is FfiHistoryRange.Before -> HistoryRange.Before(seq.toLong())
        is FfiHistoryRange.After -> HistoryRange.After(seq.toLong())
    }

internal fun HistoryRange.toFfi(): FfiHistoryRange =
    when (this) {
        HistoryRange.Newest -> FfiHistoryRange.Newest
        is HistoryRange.Before -> FfiHistoryRange.Before(seq.toULong())
        is HistoryRange.After -> FfiHistoryRange.After(seq.toULong())
    }

internal fun HistoryQuery.toFfi(): FfiHistoryQuery =
    FfiHistoryQuery(
        range = range.toFfi(),
        beforeMessage = beforeMessage?.toULong(),
        afterMessage = afterMessage?.toULong(),
        sinceMs = sinceMillis?.toULong(),
        untilMs = untilMillis?.toULong(),
        kinds = kinds.map { it.toFfi() },
    )

internal fun FfiHistoryPage.toPublic(): HistoryPage =
    HistoryPage(messages.map { it.toPublic() }, changes.map { it.toPublic() }, next?.toPublic())

internal fun Search.toFfi(): FfiSearch =
    FfiSearch(
        text = text,
        conversation = conversation?.toFfiConversation(),
        kinds = kinds.map { it.toFfi() },
        from = from,
        sinceMs = sinceMillis?.toULong(),
        untilMs = untilMillis?.toULong(),
        before = before?.let { FfiSearchPlace(it.channel, it.messageId.toULong()) },
    )

internal fun FfiFoundPage.toPublic(): FoundPage =
    FoundPage(messages.map { it.toPublic() }, next?.let { SearchPlace(it.channel, it.messageId.toLong()) })

private fun Kind.toFfi(): FfiKind =
    when (this) {
        is Kind.Number -> FfiKind.Number(number.coerceAtLeast(0).toUInt())
        is Kind.Custom -> FfiKind.Custom(name)
    }
