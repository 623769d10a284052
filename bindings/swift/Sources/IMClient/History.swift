import Foundation

/// A part of a log.
public enum HistoryRange: Hashable, Sendable {
    /// The last entries.
    case newest
    /// The entries with seqs lower than this one, the highest of them first.
    case before(UInt64)
    /// The entries with seqs higher than this one, the lowest of them first; 0: from the beginning.
    case after(UInt64)
}

/// A kind of content, to ask for.
public enum Kind: Hashable, Sendable {
    /// One of the protocol's own kinds, by the number of its field in the protocol's `Content`: 1 is text.
    case number(UInt32)
    /// A kind that the application defines, by its name for it.
    case custom(String)
}

/// A query for messages of a conversation. Without `beforeMessage` and `afterMessage`, those of `range`.
public struct HistoryQuery: Hashable, Sendable {
    /// The part of the log.
    public var range: HistoryRange
    /// Instead of `range`: the entries before the one with this message.
    public var beforeMessage: UInt64?
    /// Instead of `range`: the entries after the one with this message.
    public var afterMessage: UInt64?
    /// Only messages of that time or later.
    public var since: Date?
    /// Only messages from before that time.
    public var until: Date?
    /// Only these kinds; all if empty.
    public var kinds: [Kind]

    /// Makes a query.
    public init(
        range: HistoryRange = .newest, beforeMessage: UInt64? = nil, afterMessage: UInt64? = nil, since: Date? = nil,
        until: Date? = nil, kinds: [Kind] = []
    ) {
        self.range = range
        self.beforeMessage = beforeMessage
        self.afterMessage = afterMessage
        self.since = since
        self.until = until
        self.kinds = kinds
    }
}

/// A page of the past.
public struct HistoryPage: Hashable, Sendable {
    /// The messages in the order of the log, whatever the direction, each with its position.
    public let messages: [ReceivedMessage]
    /// Reactions to these messages and their pins, also those that stand on newer pages: for a ``Timeline``.
    public let changes: [ReceivedMessage]
    /// Where to go on in the direction that was asked for, also behind a page with few messages or none. `nil`: that was all.
    public let next: HistoryRange?
}

/// A search for messages.
public struct Search: Hashable, Sendable {
    /// Words, separated by spaces.
    public var text: String
    /// Only in this conversation; `nil`: in all that the user may see.
    public var conversation: Conversation?
    /// Only these kinds; all if empty.
    public var kinds: [Kind]
    /// Only messages of this user.
    public var fromUser: String?
    /// Only messages of that time or later.
    public var since: Date?
    /// Only messages from before that time.
    public var until: Date?
    /// Goes on where a page ended: its ``FoundPage/next``.
    public var before: SearchPlace?

    /// Makes a search.
    public init(
        _ text: String, in conversation: Conversation? = nil, kinds: [Kind] = [], fromUser: String? = nil,
        since: Date? = nil, until: Date? = nil, before: SearchPlace? = nil
    ) {
        self.text = text
        self.conversation = conversation
        self.kinds = kinds
        self.fromUser = fromUser
        self.since = since
        self.until = until
        self.before = before
    }
}

/// How far a search has come.
public struct SearchPlace: Hashable, Sendable {
    /// The channel of the last message that was looked at; `nil`: it was in the inbox.
    public var channel: String?
    /// The last message that was looked at.
    public var messageID: UInt64

    /// Makes a place from what was kept of an earlier one.
    public init(channel: String?, messageID: UInt64) {
        self.channel = channel
        self.messageID = messageID
    }
}

/// A page of messages that were found.
public struct FoundPage: Hashable, Sendable {
    /// The newest first, each with its position in its log.
    public let messages: [ReceivedMessage]
    /// Where to go on. `nil`: that was all.
    public let next: SearchPlace?
}
