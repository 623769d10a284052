import Foundation
internal import IMBridge

/// The list of conversations, with last messages and unread counts. ``Client/conversationList(for:)`` makes one.
///
/// It follows the client's events. ``load()`` it when ``needsLoading`` says so: at first, and after an event whose effect it cannot know.
public final class ConversationList: Sendable {
    private let client: Client
    private let bridge: IMBridge.ConversationList

    init(_ client: Client, _ bridge: IMBridge.ConversationList) {
        self.client = client
        self.bridge = bridge
    }

    /// The list has to be loaded.
    public var needsLoading: Bool { bridge.needsLoading() }

    /// The number of unread messages in all conversations that are in the list and not muted.
    public var unread: Unread { Unread(bridge.unread()) }

    /// The number of unread messages as at a time: some conversations are muted until then only.
    public func unread(at time: Date) -> Unread { Unread(bridge.unreadAt(nowMs: time.unixMilliseconds)) }

    /// Loads the whole list, page by page. Until that is done it shows what it showed before. Of several attempts at once the last one
    /// counts.
    ///
    /// After an error it still needs loading.
    public func load() async throws(RequestError) {
        try await translating(to: RequestError.self) { try await bridge.load(client: client.bridge) }
        client.batches.change { $0.count += 1 }
    }

    /// The conversations: pinned ones first, then by their last messages, newest first.
    public var conversations: [ListedConversation] { bridge.conversations().map(ListedConversation.init) }

    /// A conversation, also if it is hidden.
    public subscript(conversation: Recipient) -> ListedConversation? {
        bridge.get(conversation: conversation.bridged).map(ListedConversation.init)
    }

    /// The conversations, now and after each change. An iteration that is slow gets the last list and misses those between. It ends with
    /// the client's events, or when the task is cancelled.
    public var updates: ConversationUpdates { ConversationUpdates(list: self, batches: client.batches) }
}

/// The lists that a ``ConversationList`` was and is.
public struct ConversationUpdates: AsyncSequence, Sendable {
    public typealias Element = [ListedConversation]

    let list: ConversationList
    let batches: Watched<Batches>

    public func makeAsyncIterator() -> Iterator {
        Iterator(list: list, batches: batches)
    }

    /// Waits for one list after the other.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        fileprivate let list: ConversationList
        fileprivate let batches: Watched<Batches>
        private var seen: UInt64?
        private var last: [ListedConversation]?

        fileprivate init(list: ConversationList, batches: Watched<Batches>) {
            self.list = list
            self.batches = batches
        }

        public mutating func next() async -> [ListedConversation]? {
            while true {
                let known = seen
                let now = await batches.wait { $0.isEnded || $0.count != known ? $0 : nil }
                guard let now, !now.isEnded || now.count != known else { return nil }
                seen = now.count
                let conversations = list.conversations
                if conversations != last {
                    last = conversations
                    return conversations
                }
            }
        }
    }
}

/// How many batches of events have come from the bridge, which tells its lists first, and how many times a list was loaded.
struct Batches {
    var count: UInt64 = 0
    var isEnded = false
}
