import Foundation

/// How far a user has read.
public struct ReadMark: Hashable, Sendable {
    /// The last entry that was read; 0: none.
    public var seq: UInt64
    /// The message there, if it is known.
    public var id: UInt64?

    /// Makes a mark.
    public init(seq: UInt64, id: UInt64? = nil) {
        self.seq = seq
        self.id = id
    }
}

/// The marks of a user in a conversation, the same on all of the user's devices.
public struct ConversationState: Hashable, Sendable {
    /// The conversation.
    public let conversation: Recipient
    /// The number of the user's change that led to this state. 0: nothing was set.
    public let version: UInt64
    /// How far the user has read. It never goes back.
    public let read: ReadMark
    /// In a conversation with a user: the last message that this user has read of it.
    public let peerRead: UInt64?
    /// It stands before all that are not pinned.
    public let isPinned: Bool
    /// It does not count in the sum of unread messages, and should not notify.
    public let isMuted: Bool
    /// The draft: a text that the user has begun to type.
    public let draft: String
    /// It is not in the list as long as nothing is behind this entry.
    public let hidden: UInt64
    /// Entries up to this one are not shown to the user any more.
    public let deleted: UInt64
    /// In a channel whose past is not for new members: entries up to this one are not shown either.
    public let joined: UInt64
    /// The channel was closed while the user was a member. It stays in the list, with its entries up to this one, until the user
    /// deletes it.
    public let closed: UInt64?
    /// The user wants to come back to it. Reading anything of it ends that.
    public let isMarkedUnread: Bool
    /// Where it is muted: only until then. `nil`: without an end.
    public let mutedUntil: Date?
    /// Of its unread messages only those that mention the user count in the sum.
    public let isMentionsOnly: Bool
}

/// Marks to set in a conversation. Those that are `nil` stay as they are.
public struct ConversationChange: Hashable, Sendable {
    /// Everything up to here was read.
    public var read: ReadMark?
    /// Before all that are not pinned, or back among them.
    public var pinned: Bool?
    /// Left out of the sum of unread messages, or counted again.
    public var muted: Bool?
    /// Where `muted` is true: only until then.
    public var mutedUntil: Date?
    /// Only those of its unread messages that mention the user count in the sum, or all again.
    public var mentionsOnly: Bool?
    /// Marked as unread, to come back to it, or not any more.
    public var markedUnread: Bool?
    /// The draft, at most 1024 bytes; an empty one removes it.
    public var draft: String?
    /// Out of the list until something is behind this entry; 0: back in it.
    public var hidden: UInt64?
    /// Nothing up to this entry is shown to this user any more.
    public var deleted: UInt64?

    /// Makes a change.
    public init(
        read: ReadMark? = nil, pinned: Bool? = nil, muted: Bool? = nil, mutedUntil: Date? = nil,
        mentionsOnly: Bool? = nil, markedUnread: Bool? = nil, draft: String? = nil, hidden: UInt64? = nil,
        deleted: UInt64? = nil
    ) {
        self.read = read
        self.pinned = pinned
        self.muted = muted
        self.mutedUntil = mutedUntil
        self.mentionsOnly = mentionsOnly
        self.markedUnread = markedUnread
        self.draft = draft
        self.hidden = hidden
        self.deleted = deleted
    }
}

/// A conversation in the list.
public struct ListedConversation: Hashable, Sendable, Identifiable {
    /// The conversation, and the user's marks in it.
    public let state: ConversationState
    /// The last message that the user may see, after its last edit; without content if it was recalled.
    public let last: ReceivedMessage?
    /// The id of the last edit of `last`. `nil`: it was never edited.
    public let lastEdit: UInt64?
    /// `last` was recalled: nobody is to see its content.
    public let lastRecalled: Recalled?
    /// The end of the log that this is based on.
    public let end: UInt64
    /// How many messages of others are behind what the user has read.
    public let unread: Int
    /// There may be more unread messages than that.
    public let hasMoreUnread: Bool
    /// The places of the newest unread messages, in ascending order.
    public let unreadSeqs: [UInt64]
    /// The messages there.
    public let unreadIDs: [UInt64]
    /// The places of the unread messages that mention the user.
    public let mentionSeqs: [UInt64]

    /// The conversation.
    public var id: Recipient { state.conversation }
}

/// The recall of a message.
public struct Recalled: Hashable, Sendable {
    /// The id of the change.
    public let change: UInt64
    /// The user that recalled it. `nil`: the back end itself.
    public let byUser: String?
}

/// A page of the user's conversations.
public struct ConversationPage: Hashable, Sendable {
    /// Pinned ones first, then by their last messages, newest first.
    public let conversations: [ListedConversation]
    /// On the last pages: hidden and deleted ones. They count among those to skip for the next page.
    public let hidden: [ListedConversation]
    /// There are further ones.
    public let hasMore: Bool
    /// Unread messages in all conversations that are not muted, also beyond the page.
    public let unread: Unread
}

/// A number of unread messages.
public struct Unread: Hashable, Sendable {
    /// How many.
    public let count: UInt64
    /// There may be more.
    public let hasMore: Bool
}

/// The readers of a message.
public struct Readers: Hashable, Sendable {
    /// How many.
    public let count: UInt64
    /// Some of them, or all.
    public let users: [String]
}

/// How far a member has read a channel.
public struct ReadReceipt: Hashable, Sendable {
    /// The channel.
    public let channel: String
    /// The member.
    public let user: String
    /// The last entry that was read.
    public let seq: UInt64
    /// The message there, if it is known.
    public let id: UInt64?
}
