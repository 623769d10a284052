internal import IMBridge

/// The messages of a conversation with their changes applied. It takes messages and changes in any order and any number of times.
public final class Timeline: Sendable {
    private let bridge: IMBridge.Timeline

    /// Makes an empty timeline, as it is shown to this user.
    ///
    /// It throws if that is no user id.
    public init(for user: String) throws(InvalidContentError) {
        bridge = try translating(to: InvalidContentError.self) { try IMBridge.Timeline(user: user) }
    }

    /// Takes a message, of an event or of history. Returns the id of the message that looks different now, if one does.
    ///
    /// It throws if the message was not received like this.
    @discardableResult
    public func apply(_ message: ReceivedMessage) throws(InvalidContentError) -> UInt64? {
        try translating(to: InvalidContentError.self) { try bridge.apply(message: message.bridged) }
    }

    /// Takes the messages and changes of a page.
    public func apply(_ page: HistoryPage) throws(InvalidContentError) {
        for message in page.messages + page.changes {
            try apply(message)
        }
    }

    /// A message, if it has come.
    public subscript(id: UInt64) -> ShownMessage? {
        bridge.get(id: id).map(ShownMessage.init)
    }

    /// All messages that have come, in the order of their log.
    public var messages: [ShownMessage] { bridge.messages().map(ShownMessage.init) }

    /// The number of changes that wait for messages that have not come.
    public var waiting: UInt64 { bridge.waiting() }

    /// Messages up to this one are forgotten, and are not taken any more. `nil`: none are.
    public var horizon: UInt64? { bridge.horizon() }

    /// Forgets messages up to this one, with their changes.
    public func forget(through id: UInt64) {
        bridge.forgetThrough(id: id)
    }
}

/// A message as it is to be shown.
public struct ShownMessage: Hashable, Sendable, Identifiable {
    /// Its id.
    public let id: UInt64
    /// The sender. `nil`: the back end itself.
    public let fromUser: String?
    /// Its content, after its last edit. `nil`: it was recalled or deleted.
    public let content: Content?
    /// It has another content than at first.
    public let isEdited: Bool
    /// It was recalled: nobody is to see its content.
    public let isRecalled: Bool
    /// The user that recalled it. `nil`: the back end itself.
    public let recalledBy: String?
    /// The user does not want to see it: leave it out.
    public let isDeleted: Bool
    /// It is to be kept in view.
    public let isPinned: Bool
    /// The reactions to it.
    public let reactions: [Reaction]
}

/// All users who reacted with one emoji.
public struct Reaction: Hashable, Sendable {
    /// The emoji.
    public let emoji: String
    /// The users, at least one. An empty name stands for the back end itself.
    public let users: [String]

    /// Makes a reaction, to compare.
    public init(emoji: String, users: [String]) {
        self.emoji = emoji
        self.users = users
    }
}

extension ShownMessage {
    fileprivate init(_ message: IMBridge.ShownMessage) {
        self.init(
            id: message.id, fromUser: message.fromUser, content: message.content.map(Content.init),
            isEdited: message.edited, isRecalled: message.recalled, recalledBy: message.recalledBy,
            isDeleted: message.deleted, isPinned: message.pinned,
            reactions: message.reactions.map { Reaction(emoji: $0.emoji, users: $0.users) }
        )
    }
}
