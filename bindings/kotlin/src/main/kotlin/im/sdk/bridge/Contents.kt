package im.sdk.bridge

import im.sdk.Amended
import im.sdk.Body
import im.sdk.Bytes
import im.sdk.ChangeKind
import im.sdk.Content
import im.sdk.ForwardSource
import im.sdk.ForwardedEntry
import im.sdk.Media
import im.sdk.Quote
import im.sdk.ffi.Amended as FfiAmended
import im.sdk.ffi.Body as FfiBody
import im.sdk.ffi.Card as FfiCard
import im.sdk.ffi.ChangeKind as FfiChangeKind
import im.sdk.ffi.Content as FfiContent
import im.sdk.ffi.File as FfiFile
import im.sdk.ffi.ForwardSource as FfiForwardSource
import im.sdk.ffi.ForwardedEntry as FfiForwardedEntry
import im.sdk.ffi.Image as FfiImage
import im.sdk.ffi.Location as FfiLocation
import im.sdk.ffi.Media as FfiMedia
import im.sdk.ffi.Quote as FfiQuote
import im.sdk.ffi.Video as FfiVideo
import im.sdk.ffi.Voice as FfiVoice

internal fun FfiContent.toPublic(): Content =
    Content(
        body = body.toPublic(),
        mentions = mentions,
        mentionsEverybody = mentionsEverybody,
        quote = quote?.toPublic(),
        thread = thread?.toLong(),
        isSilent = silent,
        amended = amended?.run { Amended(change.toLong(), recalled, byUser, order.toLong()) },
        unknown = unknown?.let(Bytes::wrap),
    )

internal fun Content.toFfi(): FfiContent =
    FfiContent(
        body = body.toFfi(),
        mentions = mentions,
        mentionsEverybody = mentionsEverybody,
        quote = quote?.toFfi(),
        thread = thread?.toULong(),
        silent = isSilent,
        amended = amended?.run { FfiAmended(change.toULong(), isRecalled, byUser, order.toULong()) },
        unknown = unknown?.unwrap(),
    )

private fun FfiBody.toPublic(): Body =
    when (this) {
        is FfiBody.Text -> Body.Text(text)
        is FfiBody.Image -> image.run {
            Body.Image(media.toPublic(), width.toInt(), height.toInt(), thumbnail?.toPublic(), caption)
        }
        is FfiBody.File -> Body.File(file.media.toPublic(), file.caption)
        is FfiBody.Voice -> voice.run {
            Body.Voice(media.toPublic(), durationMs.toLong(), waveform?.let(Bytes::wrap))
        }
        is FfiBody.Video -> video.run {
            Body.Video(
                media.toPublic(), durationMs.toLong(), width.toInt(), height.toInt(), thumbnail?.toPublic(), caption,
            )
        }
        is FfiBody.Location -> location.run { Body.Location(latitudeE7, longitudeE7, name, address) }
        is FfiBody.Card -> card.run { Body.Card(kind, id, title, text, url, image?.toPublic()) }
        is FfiBody.Forwarded -> Body.Forwarded(title, entries.map { it.toPublic() })
        is FfiBody.Notice -> Body.Notice(kind, text, parameters)
        is FfiBody.Change -> Body.Change(messageId.toLong(), kind.toPublic(), channel, order.toLong())
        is FfiBody.Custom -> Body.Custom(kind, Bytes.wrap(data))
        is FfiBody.Unknown -> Body.Unknown
    }

private fun Body.toFfi(): FfiBody =
    when (this) {
        is Body.Text -> FfiBody.Text(text)
        is Body.Image ->
            FfiBody.Image(FfiImage(media.toFfi(), pixels(width), pixels(height), thumbnail?.toFfi(), caption))
        is Body.File -> FfiBody.File(FfiFile(media.toFfi(), caption))
        is Body.Voice -> FfiBody.Voice(FfiVoice(media.toFfi(), millis(durationMillis), waveform?.unwrap()))
        is Body.Video ->
            FfiBody.Video(
                FfiVideo(
                    media.toFfi(), millis(durationMillis), pixels(width), pixels(height), thumbnail?.toFfi(), caption,
                ),
            )
        is Body.Location -> FfiBody.Location(FfiLocation(latitudeE7, longitudeE7, name, address))
        is Body.Card -> FfiBody.Card(FfiCard(kind, id, title, text, url, image?.toFfi()))
        is Body.Forwarded -> FfiBody.Forwarded(title, entries.map { it.toFfi() })
        is Body.Notice -> FfiBody.Notice(kind, text, parameters)
        is Body.Change -> FfiBody.Change(messageId.toULong(), kind.toFfi(), channel, order.toULong())
        is Body.Custom -> FfiBody.Custom(kind, data.unwrap())
        Body.Unknown -> FfiBody.Unknown
    }

private fun FfiChangeKind.toPublic(): ChangeKind =
    when (this) {
        is FfiChangeKind.Recall -> ChangeKind.Recall
        is FfiChangeKind.Edit -> ChangeKind.Edit(content.toPublic())
        is FfiChangeKind.DeleteForMe -> ChangeKind.DeleteForMe
        is FfiChangeKind.Reaction -> ChangeKind.Reaction(emoji, removed)
        is FfiChangeKind.Pin -> ChangeKind.Pin(removed)
        is FfiChangeKind.Unknown -> ChangeKind.Unknown
    }

internal fun ChangeKind.toFfi(): FfiChangeKind =
    when (this) {
        ChangeKind.Recall -> FfiChangeKind.Recall
        is ChangeKind.Edit -> FfiChangeKind.Edit(content.toFfi())
        ChangeKind.DeleteForMe -> FfiChangeKind.DeleteForMe
        is ChangeKind.Reaction -> FfiChangeKind.Reaction(emoji, isRemoved)
        is ChangeKind.Pin -> FfiChangeKind.Pin(isRemoved)
        ChangeKind.Unknown -> FfiChangeKind.Unknown
    }

private fun FfiMedia.toPublic(): Media = Media(url, mimeType, bytes.toLong(), sha256?.let(Bytes::wrap), name)

private fun Media.toFfi(): FfiMedia = FfiMedia(url, mimeType, bytes.toULong(), sha256?.unwrap(), name)

internal fun FfiQuote.toPublic(): Quote =
    Quote(messageId.toLong(), fromUser, kind, excerpt, verified, recalled, seq.toLong())

private fun Quote.toFfi(): FfiQuote =
    FfiQuote(messageId.toULong(), fromUser, kind, excerpt, isVerified, isRecalled, seq.toULong())

internal fun FfiForwardedEntry.toPublic(): ForwardedEntry =
    ForwardedEntry(
        fromUser, name, sentAtMs.toLong(), content.toPublic(), verified,
        source?.run { ForwardSource(messageId.toLong(), seq.toLong(), channel) },
    )

private fun ForwardedEntry.toFfi(): FfiForwardedEntry =
    FfiForwardedEntry(
        fromUser, name, sentAtMillis.toULong(), content.toFfi(), isVerified,
        source?.run { FfiForwardSource(messageId.toULong(), seq.toULong(), channel) },
    )

private fun pixels(number: Int): UInt = number.coerceAtLeast(0).toUInt()

private fun millis(duration: Long): UInt = duration.coerceIn(0, UInt.MAX_VALUE.toLong()).toUInt()
