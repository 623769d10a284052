import Foundation
internal import IMBridge

extension Content {
    init(_ content: IMBridge.Content) {
        self.init(
            Body(content.body), mentions: content.mentions, mentionsEverybody: content.mentionsEverybody,
            quote: content.quote.map(Quote.init), thread: content.thread, isSilent: content.silent
        )
        amended = content.amended.map(Amended.init)
        unknown = content.unknown
    }

    var bridged: IMBridge.Content {
        IMBridge.Content(
            body: body.bridged, mentions: mentions, mentionsEverybody: mentionsEverybody, quote: quote?.bridged,
            thread: thread, silent: isSilent, amended: amended?.bridged, unknown: unknown
        )
    }
}

extension Amended {
    fileprivate init(_ amended: IMBridge.Amended) {
        self.init(
            change: amended.change, isRecalled: amended.recalled, byUser: amended.byUser, order: amended.order
        )
    }

    fileprivate var bridged: IMBridge.Amended {
        IMBridge.Amended(change: change, recalled: isRecalled, byUser: byUser, order: order)
    }
}

extension Body {
    fileprivate init(_ body: IMBridge.Body) {
        self =
            switch body {
            case .text(let text): .text(text)
            case .image(let image): .image(Image(image))
            case .file(let file): .file(File(Media(file.media), caption: file.caption))
            case .voice(let voice): .voice(Voice(voice))
            case .video(let video): .video(Video(video))
            case .location(let location): .location(Location(location))
            case .card(let card): .card(Card(card))
            case .forwarded(let title, let entries): .forwarded(title: title, entries: entries.map(ForwardedEntry.init))
            case .notice(let kind, let text, let parameters): .notice(kind: kind, text: text, parameters: parameters)
            case .change(let messageID, let kind, let channel, let order):
                .change(messageID: messageID, kind: ChangeKind(kind), channel: channel, order: order)
            case .custom(let kind, let data): .custom(kind: kind, data: data)
            case .unknown: .unknown
            }
    }

    fileprivate var bridged: IMBridge.Body {
        switch self {
        case .text(let text): .text(text: text)
        case .image(let image): .image(image: image.bridged)
        case .file(let file): .file(file: IMBridge.File(media: file.media.bridged, caption: file.caption))
        case .voice(let voice): .voice(voice: voice.bridged)
        case .video(let video): .video(video: video.bridged)
        case .location(let location): .location(location: location.bridged)
        case .card(let card): .card(card: card.bridged)
        case .forwarded(let title, let entries): .forwarded(title: title, entries: entries.map(\.bridged))
        case .notice(let kind, let text, let parameters): .notice(kind: kind, text: text, parameters: parameters)
        case .change(let messageID, let kind, let channel, let order):
            .change(messageId: messageID, kind: kind.bridged, channel: channel, order: order)
        case .custom(let kind, let data): .custom(kind: kind, data: data)
        case .unknown: .unknown
        }
    }
}

extension ChangeKind {
    fileprivate init(_ kind: IMBridge.ChangeKind) {
        self =
            switch kind {
            case .recall: .recall
            case .edit(let content): .edit(Content(content))
            case .deleteForMe: .deleteForMe
            case .reaction(let emoji, let removed): .reaction(emoji, isRemoved: removed)
            case .pin(let removed): .pin(isRemoved: removed)
            case .unknown: .unknown
            }
    }

    var bridged: IMBridge.ChangeKind {
        switch self {
        case .recall: .recall
        case .edit(let content): .edit(content: content.bridged)
        case .deleteForMe: .deleteForMe
        case .reaction(let emoji, let isRemoved): .reaction(emoji: emoji, removed: isRemoved)
        case .pin(let isRemoved): .pin(removed: isRemoved)
        case .unknown: .unknown
        }
    }
}

extension Media {
    fileprivate init(_ media: IMBridge.Media) {
        self.init(
            url: media.url, mimeType: media.mimeType, bytes: media.bytes, sha256: media.sha256, name: media.name
        )
    }

    fileprivate var bridged: IMBridge.Media {
        IMBridge.Media(url: url, mimeType: mimeType, bytes: bytes, sha256: sha256, name: name)
    }
}

extension Image {
    fileprivate init(_ image: IMBridge.Image) {
        self.init(
            Media(image.media), width: image.width, height: image.height, thumbnail: image.thumbnail.map(Media.init),
            caption: image.caption
        )
    }

    fileprivate var bridged: IMBridge.Image {
        IMBridge.Image(
            media: media.bridged, width: width, height: height, thumbnail: thumbnail?.bridged, caption: caption
        )
    }
}

extension Voice {
    fileprivate init(_ voice: IMBridge.Voice) {
        let duration = Duration.milliseconds(voice.durationMs)
        self.init(Media(voice.media), duration: duration, waveform: voice.waveform)
    }

    fileprivate var bridged: IMBridge.Voice {
        let durationMs = UInt32(clamping: duration.wholeMilliseconds)
        return IMBridge.Voice(media: media.bridged, durationMs: durationMs, waveform: waveform)
    }
}

extension Video {
    fileprivate init(_ video: IMBridge.Video) {
        self.init(
            Media(video.media), duration: .milliseconds(video.durationMs), width: video.width, height: video.height,
            thumbnail: video.thumbnail.map(Media.init), caption: video.caption
        )
    }

    fileprivate var bridged: IMBridge.Video {
        IMBridge.Video(
            media: media.bridged, durationMs: UInt32(clamping: duration.wholeMilliseconds), width: width,
            height: height, thumbnail: thumbnail?.bridged, caption: caption
        )
    }
}

extension Location {
    fileprivate init(_ location: IMBridge.Location) {
        self.init(
            latitudeE7: location.latitudeE7, longitudeE7: location.longitudeE7, name: location.name,
            address: location.address
        )
    }

    fileprivate var bridged: IMBridge.Location {
        IMBridge.Location(latitudeE7: latitudeE7, longitudeE7: longitudeE7, name: name, address: address)
    }
}

extension Card {
    fileprivate init(_ card: IMBridge.Card) {
        self.init(
            kind: card.kind, id: card.id, title: card.title, text: card.text, url: card.url,
            image: card.image.map(Media.init)
        )
    }

    fileprivate var bridged: IMBridge.Card {
        IMBridge.Card(kind: kind, id: id, title: title, text: text, url: url, image: image?.bridged)
    }
}

extension ForwardedEntry {
    init(_ entry: IMBridge.ForwardedEntry) {
        self.init(
            fromUser: entry.fromUser, name: entry.name,
            sentAt: entry.sentAtMs == 0 ? nil : Date(unixMilliseconds: entry.sentAtMs), content: Content(entry.content),
            isVerified: entry.verified, source: entry.source.map(ForwardSource.init)
        )
    }

    fileprivate var bridged: IMBridge.ForwardedEntry {
        IMBridge.ForwardedEntry(
            fromUser: fromUser, name: name, sentAtMs: sentAt?.unixMilliseconds ?? 0, content: content.bridged,
            verified: isVerified, source: source?.bridged
        )
    }
}

extension ForwardSource {
    fileprivate init(_ source: IMBridge.ForwardSource) {
        self.init(messageID: source.messageId, seq: source.seq, channel: source.channel)
    }

    fileprivate var bridged: IMBridge.ForwardSource {
        IMBridge.ForwardSource(messageId: messageID, seq: seq, channel: channel)
    }
}

extension Quote {
    init(_ quote: IMBridge.Quote) {
        self.init(
            messageID: quote.messageId, fromUser: quote.fromUser, kind: quote.kind, excerpt: quote.excerpt,
            isVerified: quote.verified, isRecalled: quote.recalled, seq: quote.seq
        )
    }

    fileprivate var bridged: IMBridge.Quote {
        IMBridge.Quote(
            messageId: messageID, fromUser: fromUser, kind: kind, excerpt: excerpt, verified: isVerified,
            recalled: isRecalled, seq: seq
        )
    }
}
