import Foundation
internal import IMBridge

/// The content of a message.
public struct Content: Hashable, Sendable {
    /// The kind of content, with its fields.
    public var body: Body
    /// The users whom it mentions.
    public var mentions: [String]
    /// It mentions everybody in the conversation.
    public var mentionsEverybody: Bool
    /// The message that it answers.
    public var quote: Quote?
    /// The id of the message at the root of the thread that this one belongs to.
    public var thread: UInt64?
    /// It does not count as unread.
    public var isSilent: Bool
    /// An edit or a recall was carried out where the message is kept, and this is the result.
    public internal(set) var amended: Amended?
    /// Fields of a newer version, which travel on unchanged.
    var unknown: Data?

    /// Makes a content to send.
    public init(
        _ body: Body, mentions: [String] = [], mentionsEverybody: Bool = false, quote: Quote? = nil,
        thread: UInt64? = nil,
        isSilent: Bool = false
    ) {
        self.body = body
        self.mentions = mentions
        self.mentionsEverybody = mentionsEverybody
        self.quote = quote
        self.thread = thread
        self.isSilent = isSilent
    }

    /// Decodes what ``encoded()`` has encoded, in this version or another one.
    ///
    /// It throws if the bytes are something else.
    public init(decoding bytes: Data) throws(InvalidContentError) {
        self = try translating(to: InvalidContentError.self) { Content(try decodeContent(bytes: bytes)) }
    }

    /// Encodes the content as it travels, to be stored. Fields that this version does not know are kept.
    ///
    /// It throws if the content names somebody by an id that is none.
    public func encoded() throws(InvalidContentError) -> Data {
        try translating(to: InvalidContentError.self) { try encodeContent(content: bridged) }
    }

    /// The text, if the content is one.
    public var text: String? {
        if case .text(let text) = body { text } else { nil }
    }
}

/// An edit or a recall that was carried out where the message is kept.
public struct Amended: Hashable, Sendable {
    /// The id of the change.
    public let change: UInt64
    /// It was a recall, and the content is empty. Otherwise the content is that of the edit.
    public let isRecalled: Bool
    /// The user that recalled it. `nil`: the back end itself.
    public let byUser: String?
    /// The rank of the change among those of the message.
    public let order: UInt64
}

/// The kinds of content.
public indirect enum Body: Hashable, Sendable {
    /// Plain text.
    case text(String)
    /// A picture.
    case image(Image)
    /// Any file.
    case file(File)
    /// Recorded speech.
    case voice(Voice)
    /// A video.
    case video(Video)
    /// A place on earth.
    case location(Location)
    /// Something with a title.
    case card(Card)
    /// Messages from elsewhere, with a title; ``ReceivedMessage/forward()`` makes an entry.
    case forwarded(title: String, entries: [ForwardedEntry])
    /// A notice of the system: the application's name for it, the text for devices that do not know the kind, and parameters, of
    /// which a device makes a sentence in its language.
    case notice(kind: String, text: String, parameters: [String: String] = [:])
    /// A change of another message. A ``Timeline`` applies it. `channel` is the one that the message is in, where the change is in
    /// another log; `order` the rank among the changes of one message, 0 on the way to the back end.
    case change(messageID: UInt64, kind: ChangeKind, channel: String? = nil, order: UInt64 = 0)
    /// A kind that the application defines: its name for the kind, such as `order.paid`, and its bytes.
    case custom(kind: String, data: Data)
    /// A kind that this version does not know. Show a placeholder.
    case unknown
}

/// The changes of a message.
public indirect enum ChangeKind: Hashable, Sendable {
    /// Nobody is to see the message any more.
    case recall
    /// The message gets another content.
    case edit(Content)
    /// The user does not want to see the message any more. Others see it as before.
    case deleteForMe
    /// The user's reaction, an emoji or the application's name for one, or that it is taken back.
    case reaction(String, isRemoved: Bool = false)
    /// The message is kept in view, for everybody in the conversation, or let go again.
    case pin(isRemoved: Bool = false)
    /// A kind that this version does not know. It has no effect.
    case unknown
}

/// Where the bytes of a picture, a recording or a file are, and their type.
public struct Media: Hashable, Sendable {
    /// Their URL.
    public var url: String
    /// A type such as `image/jpeg`; empty if not known.
    public var mimeType: String
    /// Their number; 0 if not known.
    public var bytes: UInt64
    /// Their SHA-256 digest of 32 bytes, to check a download.
    public var sha256: Data?
    /// The file's name, as it is to be shown.
    public var name: String

    /// Makes a reference to bytes that are at a URL.
    public init(url: String, mimeType: String = "", bytes: UInt64 = 0, sha256: Data? = nil, name: String = "") {
        self.url = url
        self.mimeType = mimeType
        self.bytes = bytes
        self.sha256 = sha256
        self.name = name
    }
}

/// A picture.
public struct Image: Hashable, Sendable {
    /// The picture itself.
    public var media: Media
    /// Pixels; 0 if not known.
    public var width: UInt32
    /// Pixels; 0 if not known.
    public var height: UInt32
    /// A smaller version.
    public var thumbnail: Media?
    /// Its caption.
    public var caption: String

    /// Makes a picture.
    public init(_ media: Media, width: UInt32 = 0, height: UInt32 = 0, thumbnail: Media? = nil, caption: String = "") {
        self.media = media
        self.width = width
        self.height = height
        self.thumbnail = thumbnail
        self.caption = caption
    }
}

/// Any file.
public struct File: Hashable, Sendable {
    /// The file itself.
    public var media: Media
    /// Its caption.
    public var caption: String

    /// Makes a file.
    public init(_ media: Media, caption: String = "") {
        self.media = media
        self.caption = caption
    }
}

/// Recorded speech.
public struct Voice: Hashable, Sendable {
    /// The recording itself.
    public var media: Media
    /// Its length.
    public var duration: Duration
    /// Its loudness: one byte for each of as many equal parts.
    public var waveform: Data?

    /// Makes a recording.
    public init(_ media: Media, duration: Duration, waveform: Data? = nil) {
        self.media = media
        self.duration = duration
        self.waveform = waveform
    }
}

/// A video.
public struct Video: Hashable, Sendable {
    /// The video itself.
    public var media: Media
    /// Its length.
    public var duration: Duration
    /// Pixels; 0 if not known.
    public var width: UInt32
    /// Pixels; 0 if not known.
    public var height: UInt32
    /// A still picture of it.
    public var thumbnail: Media?
    /// Its caption.
    public var caption: String

    /// Makes a video.
    public init(
        _ media: Media, duration: Duration, width: UInt32 = 0, height: UInt32 = 0, thumbnail: Media? = nil,
        caption: String = ""
    ) {
        self.media = media
        self.duration = duration
        self.width = width
        self.height = height
        self.thumbnail = thumbnail
        self.caption = caption
    }
}

/// A place on earth.
public struct Location: Hashable, Sendable {
    /// Degrees north of the equator, times ten million.
    public var latitudeE7: Int32
    /// Degrees east of Greenwich, times ten million.
    public var longitudeE7: Int32
    /// Its name.
    public var name: String
    /// Its address.
    public var address: String

    /// Makes a place.
    public init(latitudeE7: Int32, longitudeE7: Int32, name: String = "", address: String = "") {
        self.latitudeE7 = latitudeE7
        self.longitudeE7 = longitudeE7
        self.name = name
        self.address = address
    }
}

/// Something with a title.
public struct Card: Hashable, Sendable {
    /// The kind of thing that it stands for: `user`, `channel`, `link`, or the application's own word.
    public var kind: String
    /// The id of that thing.
    public var id: String
    /// Its title.
    public var title: String
    /// Its text.
    public var text: String
    /// Its link.
    public var url: String
    /// Its picture.
    public var image: Media?

    /// Makes a card.
    public init(kind: String, id: String, title: String, text: String = "", url: String = "", image: Media? = nil) {
        self.kind = kind
        self.id = id
        self.title = title
        self.text = text
        self.url = url
        self.image = image
    }
}

/// A message that is passed on.
public struct ForwardedEntry: Hashable, Sendable {
    /// The sender. `nil`: not known, or the back end.
    public var fromUser: String?
    /// The name of the sender.
    public var name: String
    /// When it was sent. `nil`: not known.
    public var sentAt: Date?
    /// Its content.
    public var content: Content
    /// The back end has found the message and vouches for its sender, time and content. Otherwise the user that passes it on claims
    /// them.
    public var isVerified: Bool
    /// Where the message is, in a log of the user that passes it on. `nil`: the back end does not look for it.
    public var source: ForwardSource?

    /// Makes an entry of words that are in no log.
    public init(
        fromUser: String?, name: String, sentAt: Date?, content: Content, isVerified: Bool = false,
        source: ForwardSource? = nil
    ) {
        self.fromUser = fromUser
        self.name = name
        self.sentAt = sentAt
        self.content = content
        self.isVerified = isVerified
        self.source = source
    }
}

/// The place of a message that is passed on, in a log of the user that passes it on.
public struct ForwardSource: Hashable, Sendable {
    /// The message.
    public var messageID: UInt64
    /// Its place in the log.
    public var seq: UInt64
    /// The channel that it is in. `nil`: the user's inbox.
    public var channel: String?

    /// Makes a source from what was kept of an earlier one.
    public init(messageID: UInt64, seq: UInt64, channel: String?) {
        self.messageID = messageID
        self.seq = seq
        self.channel = channel
    }
}

/// The message that another one answers. ``ReceivedMessage/quote()`` makes one.
public struct Quote: Hashable, Sendable {
    /// The message.
    public var messageID: UInt64
    /// The sender. `nil`: the back end.
    public var fromUser: String?
    /// Its kind: `text`, `image` and so on.
    public var kind: String
    /// The beginning of its text.
    public var excerpt: String
    /// The back end has found the message in this conversation. Otherwise the sender of the quote claims all of this.
    public var isVerified: Bool
    /// The message was recalled, and there is no excerpt.
    public var isRecalled: Bool
    /// The message's place in the log of the user that quotes; 0: the back end does not look for it.
    public var seq: UInt64

    /// Makes a quote of words that are in no log.
    public init(
        messageID: UInt64, fromUser: String?, kind: String, excerpt: String, isVerified: Bool = false,
        isRecalled: Bool = false, seq: UInt64 = 0
    ) {
        self.messageID = messageID
        self.fromUser = fromUser
        self.kind = kind
        self.excerpt = excerpt
        self.isVerified = isVerified
        self.isRecalled = isRecalled
        self.seq = seq
    }
}
