import Foundation
internal import IMBridge

/// The receiver of a message, which also names the conversation.
public enum Recipient: Hashable, Sendable {
    /// The user with this id.
    case user(String)
    /// The members of the group, or the room, with this id.
    case channel(String)
}

/// A conversation whose messages are asked for.
public enum Conversation: Hashable, Sendable {
    /// The messages between this device's user and the one with this id.
    case user(String)
    /// The group or room with this id.
    case channel(String)
    /// Everything in the user's inbox.
    case inbox

    /// Makes the conversation with a user or a channel.
    public init(_ recipient: Recipient) {
        self =
            switch recipient {
            case .user(let user): .user(user)
            case .channel(let channel): .channel(channel)
            }
    }
}

/// A message that has come.
public struct ReceivedMessage: Hashable, Sendable, Identifiable {
    /// Its id: 63 bits, unique, roughly in order of time.
    public let id: UInt64
    /// The sender. `nil`: the back end itself.
    public let fromUser: String?
    /// The user that it is addressed to. `nil`: this user as one of several, or as a member of `channel`.
    public let toUser: String?
    /// The channel that it was sent to.
    public let channel: String?
    /// Its content.
    public let content: Content
    /// The id of the send, if this device has sent the message, also before a restart.
    public let localID: UInt64?
    /// The transport that it came over.
    public let transport: Transport
    /// Its place in a log, to acknowledge. `nil`: it is in no log.
    public let position: Position?

    /// The text, if the content is one.
    public var text: String? { content.text }

    /// The time when it was sent. The id tells.
    public var sentAt: Date { Date(unixMilliseconds: messageUnixMs(id: id) ?? 0) }

    /// Makes the reference by which to change the message. `me` is the user whose device this is. `nil`: the message is in no log,
    /// and cannot be changed.
    public func reference(for me: String) -> MessageRef? {
        messageRef(message: bridged, me: me).map(MessageRef.init)
    }

    /// Makes a quote for a message into the same conversation, which the back end can verify if the message is in a log.
    ///
    /// It throws if the message was not received like this.
    public func quote() throws(InvalidContentError) -> Quote {
        try translating(to: InvalidContentError.self) { Quote(try quoteMessage(message: bridged)) }
    }

    /// Makes an entry of ``Body/forwarded(title:entries:)``, which the back end can verify if the message is in a log.
    ///
    /// It throws if the message was not received like this.
    public func forward() throws(InvalidContentError) -> ForwardedEntry {
        try translating(to: InvalidContentError.self) { ForwardedEntry(try forwardMessage(message: bridged)) }
    }
}

/// The place of a message, by which to change it.
public struct MessageRef: Hashable, Sendable {
    /// The conversation: the other user, or the channel; oneself, where there is no other.
    public var conversation: Recipient
    /// The message.
    public var id: UInt64
    /// Its place in this user's log of the conversation.
    public var seq: UInt64

    /// Makes a reference from what was kept of an earlier one.
    public init(conversation: Recipient, id: UInt64, seq: UInt64) {
        self.conversation = conversation
        self.id = id
        self.seq = seq
    }
}

/// A place in a log.
public struct Position: Hashable, Sendable {
    /// The channel; empty for the user's inbox.
    public var channel: String
    /// The number of the entry, counted from 1, without holes. 0: before the first entry.
    public var seq: UInt64
    /// The message there, if it is known.
    public var id: UInt64?

    /// Makes a position from what was kept of an earlier one.
    public init(channel: String, seq: UInt64, id: UInt64?) {
        self.channel = channel
        self.seq = seq
        self.id = id
    }
}

/// The transports.
public enum Transport: Hashable, Sendable {
    /// QUIC.
    case quic
    /// WebSocket.
    case webSocket
}
