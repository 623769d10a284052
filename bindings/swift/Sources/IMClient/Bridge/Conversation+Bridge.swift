import Foundation
internal import IMBridge

extension ReadMark {
    fileprivate init(_ mark: IMBridge.ReadMark) {
        self.init(seq: mark.seq, id: mark.id)
    }

    fileprivate var bridged: IMBridge.ReadMark {
        IMBridge.ReadMark(seq: seq, id: id)
    }
}

extension ConversationState {
    init(_ state: IMBridge.ConversationState) {
        self.init(
            conversation: Recipient(state.conversation), version: state.version, read: ReadMark(state.read),
            peerRead: state.peerRead, isPinned: state.pinned, isMuted: state.muted, draft: state.draft,
            hidden: state.hidden, deleted: state.deleted, joined: state.joined, closed: state.closed,
            isMarkedUnread: state.markedUnread, mutedUntil: state.mutedUntilMs.map(Date.init(unixMilliseconds:)),
            isMentionsOnly: state.mentionsOnly
        )
    }
}

extension ConversationChange {
    var bridged: IMBridge.ConversationChange {
        IMBridge.ConversationChange(
            read: read?.bridged, pinned: pinned, muted: muted, mutedUntilMs: mutedUntil?.unixMilliseconds,
            mentionsOnly: mentionsOnly, markedUnread: markedUnread, draft: draft, hidden: hidden, deleted: deleted
        )
    }
}

extension ListedConversation {
    init(_ listed: IMBridge.ListedConversation) {
        let recalled = listed.lastRecalled.map { Recalled(change: $0.change, byUser: $0.byUser) }
        self.init(
            state: ConversationState(listed.state), last: listed.last.map(ReceivedMessage.init),
            lastEdit: listed.lastEdit, lastRecalled: recalled, end: listed.end, unread: Int(listed.unread),
            hasMoreUnread: listed.unreadMore, unreadSeqs: listed.unreadSeqs, unreadIDs: listed.unreadIds,
            mentionSeqs: listed.mentionSeqs
        )
    }
}

extension ConversationPage {
    init(_ page: IMBridge.ConversationPage) {
        self.init(
            conversations: page.conversations.map(ListedConversation.init),
            hidden: page.hidden.map(ListedConversation.init), hasMore: page.more,
            unread: Unread(count: page.unread, hasMore: page.unreadMore)
        )
    }
}

extension Unread {
    init(_ unread: IMBridge.Unread) {
        self.init(count: unread.count, hasMore: unread.more)
    }
}

extension Readers {
    init(_ readers: IMBridge.Readers) {
        self.init(count: readers.count, users: readers.users)
    }
}

extension ReadReceipt {
    init(_ receipt: IMBridge.ReadReceipt) {
        self.init(channel: receipt.channel, user: receipt.user, seq: receipt.seq, id: receipt.id)
    }
}
