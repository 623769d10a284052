import Foundation
internal import IMBridge

/// A device's connection to its servers: the client makes it, watches over it and makes it again.
///
/// **The application has to keep taking ``events``.** When some hundred wait, the client stops reading from the network, and answers do
/// not come either: sends stay without an outcome and requests time out. So do not wait for a request where events are taken.
///
/// Requests go on when the task that waits for them is cancelled; what waits for events or states ends.
public final class Client: Sendable {
    let bridge: IMBridge.Client
    private let queue: EventQueue
    private let current: Watched<State>
    let batches = Watched(Batches())

    private init(_ bridge: IMBridge.Client) {
        self.bridge = bridge
        queue = EventQueue(capacity: Self.queueCapacity)
        current = Watched(State(bridge.state()))
        Task.detached { [bridge, queue, current] in
            await Self.follow(bridge, current)
            // The last events are few, and nobody may be there to make room.
            queue.lift()
        }
    }

    /// A client that is let go ends, as after ``shutdown()``.
    deinit {
        Task.detached { [bridge] in await bridge.shutdown() }
    }

    /// Opens a client that is not connected yet. The network plays no part.
    ///
    /// It takes up to a second if another process has the store.
    public static func open(_ config: ClientConfig, tokens: some TokenProvider) async throws(OpenError) -> Client {
        try await translating(to: OpenError.self) {
            let (config, tokens) = (config.bridged, BridgedTokens(tokens))
            // It blocks, which tasks must not.
            let bridge = try await withCheckedThrowingContinuation { continuation in
                DispatchQueue.global().async {
                    continuation.resume(with: Result { try IMBridge.Client.open(config: config, tokens: tokens) })
                }
            }
            return Client(bridge)
        }
    }

    /// Opens a client as ``open(_:tokens:)`` does, with a closure that gives a token for each connection.
    public static func open(
        _ config: ClientConfig,
        token: @escaping @Sendable (TokenRequest) async throws -> String
    ) async throws(OpenError) -> Client {
        try await open(config, tokens: ClosureTokens(closure: token))
    }

    // MARK: Connection

    /// The state of the connection.
    public var state: State { State(bridge.state()) }

    /// The states of the connection, from the present one on.
    public var states: StateSequence { StateSequence(current: current) }

    /// The transport of the connection; `nil` unless connected.
    public var transport: Transport? { bridge.transport().map(Transport.init) }

    /// Makes a connection and keeps it; at once if the client was waiting for its next attempt. Returns at once.
    public func connect() {
        bridge.connect()
        startTaking()
    }

    /// Ends the connection and stays away until ``connect()``. Returns at once. Unsent messages wait.
    public func disconnect() {
        bridge.disconnect()
    }

    /// Replaces the endpoints, best first, from the next attempt on. Returns at once.
    ///
    /// After an error, `noEndpoints` or `invalidConfig`, the client goes on with those that it knows.
    public func setEndpoints(_ endpoints: [String]) throws(OpenError) {
        try translating(to: OpenError.self) { try bridge.setEndpoints(endpoints: endpoints) }
    }

    /// Tells the client that the device has another network, or has one again: a connection is probed, an attempt begins anew. Returns
    /// at once.
    public func networkChanged() {
        bridge.networkChanged()
    }

    /// Tells the client that its application goes into the background. It sends what waits, if it is connected, saves everything, ends
    /// the connection and closes the store's file. Returns `true` if all of that is done within this time, and `false` if the time was
    /// too short, or the application came back first.
    @discardableResult
    public func enteredBackground(within limit: Duration) async -> Bool {
        await bridge.enteredBackground(withinMs: limit.wholeMilliseconds)
    }

    /// Tells the client that its application is in the foreground again: it connects if it was connected before. Returns at once.
    public func enteredForeground() {
        bridge.enteredForeground()
    }

    /// Tells the client that the device is short of memory. Nothing is forgotten. Returns at once.
    public func memoryPressure() {
        bridge.memoryPressure()
    }

    /// Replaces the provider by a token, from the next connection on, while one that is there stays. Returns at once.
    public func setToken(_ token: String) {
        bridge.setToken(token: token)
    }

    /// Ends the client for good and waits until that is done, for some seconds at most.
    public func shutdown() async {
        await bridge.shutdown()
    }

    // MARK: Events

    /// The client's events, in order. Each goes to one iteration: iterate in one task, and share from there.
    public var events: EventSequence {
        startTaking()
        return EventSequence(queue: queue)
    }

    /// Takes the next events, in order: at least one, waiting for it if need be, and at most `max`. Returns none only when the client
    /// is closed and everything was taken. These are the events of ``events``, for an application that saves whole batches.
    public func nextEvents(max: Int = 256) async throws(CancellationError) -> [Event] {
        startTaking()
        guard let batch = await queue.take(Swift.max(max, 1)) else { throw CancellationError() }
        return batch
    }

    /// Acknowledges that the application has dealt with everything in a log up to a position, as it came with an event. Returns at once.
    /// After a restart of the process the log goes on behind it. The last one of a batch is enough.
    public func ack(_ position: Position) {
        bridge.ack(position: position.bridged)
    }

    // MARK: Sending

    /// Sends a message. Returns a handle as soon as the store has it, also without a network. ``Event/published(localID:_:)`` or
    /// ``Event/publishFailed(localID:_:)`` tells the outcome, and so does the handle. The client gives up after `within`, if it is given.
    ///
    /// After an error it was not taken, and nothing will be sent.
    @discardableResult
    public func send(
        _ content: Content, to recipient: Recipient, within: Duration? = nil
    ) async throws(SendError) -> SendHandle {
        let (to, content, limit) = (recipient.bridged, content.bridged, within?.wholeMilliseconds)
        return try await translating(to: SendError.self) {
            SendHandle(try await bridge.send(to: to, content: content, withinMs: limit))
        }
    }

    /// Sends a text, as ``send(_:to:within:)-(Content,_,_)`` does with any content.
    @discardableResult
    public func send(
        _ text: String, to recipient: Recipient, within: Duration? = nil
    ) async throws(SendError) -> SendHandle {
        try await send(Content(.text(text)), to: recipient, within: within)
    }

    /// Sends a message and waits for the outcome, for ``ClientConfig/publishTimeout`` or `within`. No event tells the outcome, and
    /// nothing is kept of what has failed.
    ///
    /// The error says whether anything was sent.
    @discardableResult
    public func sendAndWait(
        _ content: Content, to recipient: Recipient, within: Duration? = nil
    ) async throws(PublishError) -> Published {
        let (to, content, limit) = (recipient.bridged, content.bridged, within?.wholeMilliseconds)
        return try await translating(to: PublishError.self) {
            Published(try await bridge.sendAndWait(to: to, content: content, withinMs: limit))
        }
    }

    /// Sends a text and waits for the outcome, as ``sendAndWait(_:to:within:)-(Content,_,_)`` does with any content.
    @discardableResult
    public func sendAndWait(
        _ text: String, to recipient: Recipient, within: Duration? = nil
    ) async throws(PublishError) -> Published {
        try await sendAndWait(Content(.text(text)), to: recipient, within: within)
    }

    /// Returns the sends that are not settled, of this process and earlier ones, in order.
    public func unsettledSends() async -> [UnsettledSend] {
        await bridge.unsettledSends().map(UnsettledSend.init)
    }

    // MARK: Changes

    /// Changes a message. The change is sent like a message; once the back end has taken it, it comes to all devices, this one too.
    /// The client gives up after `within`, if it is given.
    ///
    /// After an error it was not taken, and nothing will be sent.
    @discardableResult
    public func change(
        _ message: MessageRef, _ kind: ChangeKind, within: Duration? = nil
    ) async throws(SendError) -> SendHandle {
        let (message, kind, limit) = (message.bridged, kind.bridged, within?.wholeMilliseconds)
        return try await translating(to: SendError.self) {
            SendHandle(try await bridge.change(message: message, kind: kind, withinMs: limit))
        }
    }

    /// Changes a message and waits until the back end has taken the change, for ``ClientConfig/publishTimeout`` or `within`.
    ///
    /// The error says whether anything was sent.
    @discardableResult
    public func changeAndWait(
        _ message: MessageRef, _ kind: ChangeKind, within: Duration? = nil
    ) async throws(PublishError) -> Published {
        let (message, kind, limit) = (message.bridged, kind.bridged, within?.wholeMilliseconds)
        return try await translating(to: PublishError.self) {
            Published(try await bridge.changeAndWait(message: message, kind: kind, withinMs: limit))
        }
    }

    /// Takes a message back, as a change: nobody is to see it any more.
    @discardableResult
    public func recall(_ message: MessageRef) async throws(SendError) -> SendHandle {
        try await change(message, .recall)
    }

    /// Replaces a message's content, as a change.
    @discardableResult
    public func edit(_ message: MessageRef, _ content: Content) async throws(SendError) -> SendHandle {
        try await change(message, .edit(content))
    }

    /// Removes a message from all devices of this user, as a change. Others see it as before.
    @discardableResult
    public func deleteForMe(_ message: MessageRef) async throws(SendError) -> SendHandle {
        try await change(message, .deleteForMe)
    }

    /// Adds this user's reaction to a message, as a change.
    @discardableResult
    public func react(to message: MessageRef, with emoji: String) async throws(SendError) -> SendHandle {
        try await change(message, .reaction(emoji))
    }

    /// Takes this user's reaction back, as a change.
    @discardableResult
    public func unreact(to message: MessageRef, with emoji: String) async throws(SendError) -> SendHandle {
        try await change(message, .reaction(emoji, isRemoved: true))
    }

    /// Pins a message for everybody in the conversation, as a change.
    @discardableResult
    public func pin(_ message: MessageRef) async throws(SendError) -> SendHandle {
        try await change(message, .pin())
    }

    /// Unpins a message, as a change.
    @discardableResult
    public func unpin(_ message: MessageRef) async throws(SendError) -> SendHandle {
        try await change(message, .pin(isRemoved: true))
    }

    // MARK: History

    /// Reads a page of the past. A `limit` of 0 leaves the size to the back end, which may always send fewer messages than asked for.
    public func history(
        _ conversation: Conversation, _ range: HistoryRange = .newest, limit: Int = 0
    ) async throws(RequestError) -> HistoryPage {
        let (conversation, range, limit) = (conversation.bridged, range.bridged, UInt32(clamping: limit))
        return try await translating(to: RequestError.self) {
            HistoryPage(try await bridge.history(conversation: conversation, range: range, limit: limit))
        }
    }

    /// Reads a page of the past with messages of some kinds or of some time, or around a message.
    public func history(
        _ conversation: Conversation, matching query: HistoryQuery, limit: Int = 0
    ) async throws(RequestError) -> HistoryPage {
        let (conversation, query, limit) = (conversation.bridged, query.bridged, UInt32(clamping: limit))
        return try await translating(to: RequestError.self) {
            HistoryPage(try await bridge.queryHistory(conversation: conversation, query: query, limit: limit))
        }
    }

    /// Reads a page of entries as they are in the log: messages, and changes at the places where they were made. `history` has put them
    /// together.
    public func rawHistory(
        _ conversation: Conversation, matching query: HistoryQuery, limit: Int = 0
    ) async throws(RequestError) -> HistoryPage {
        let (conversation, query, limit) = (conversation.bridged, query.bridged, UInt32(clamping: limit))
        return try await translating(to: RequestError.self) {
            HistoryPage(try await bridge.rawHistory(conversation: conversation, query: query, limit: limit))
        }
    }

    /// Reads the messages that an ``Event/reset(_:reason:)`` left out: the last ones up to its position. The page's
    /// ``HistoryPage/next`` leads further back, for `history`.
    public func fill(_ reset: Position, limit: Int = 0) async throws(RequestError) -> HistoryPage {
        let (reset, limit) = (reset.bridged, UInt32(clamping: limit))
        return try await translating(to: RequestError.self) {
            HistoryPage(try await bridge.fill(reset: reset, limit: limit))
        }
    }

    /// Searches in all messages that the user may see and that the back ends keep for good, or in one conversation.
    public func search(_ search: Search, limit: Int = 0) async throws(RequestError) -> FoundPage {
        let (search, limit) = (search.bridged, UInt32(clamping: limit))
        return try await translating(to: RequestError.self) {
            FoundPage(try await bridge.search(search: search, limit: limit))
        }
    }

    // MARK: Conversations

    /// Reads the user's conversations from `skip` on: pinned ones first, then by their last messages.
    public func conversations(skip: Int = 0, limit: Int = 0) async throws(RequestError) -> ConversationPage {
        let (skip, limit) = (UInt32(clamping: skip), UInt32(clamping: limit))
        return try await translating(to: RequestError.self) {
            ConversationPage(try await bridge.conversations(skip: skip, limit: limit))
        }
    }

    /// Makes a list of the conversations of this client's user. Make it before the first ``connect()``.
    public func conversationList(for user: String) throws(InvalidContentError) -> ConversationList {
        try translating(to: InvalidContentError.self) {
            ConversationList(self, try bridge.conversationList(user: user))
        }
    }

    /// Marks everything in a conversation up to a position as read. Returns at once; ``Event/conversationsChanged(_:)`` follows.
    public func markRead(_ conversation: Recipient, upTo position: Position) async throws(MarkError) {
        let (conversation, position) = (conversation.bridged, position.bridged)
        try await translating(to: MarkError.self) {
            try await bridge.markRead(conversation: conversation, position: position)
        }
    }

    /// Pins, mutes, hides or deletes a conversation, or keeps a draft. Returns at once; ``Event/conversationsChanged(_:)`` follows.
    public func setConversation(_ conversation: Recipient, _ change: ConversationChange) async throws(MarkError) {
        let (conversation, change) = (conversation.bridged, change.bridged)
        try await translating(to: MarkError.self) {
            try await bridge.setConversation(conversation: conversation, change: change)
        }
    }

    /// Tells who has read the message at a place of a channel: how many members, and up to `limit` names.
    public func readers(channel: String, seq: UInt64, limit: Int = 0) async throws(RequestError) -> Readers {
        let limit = UInt32(clamping: limit)
        return try await translating(to: RequestError.self) {
            Readers(try await bridge.readers(channel: channel, seq: seq, limit: limit))
        }
    }

    // MARK: Rooms, presence and signals

    /// Joins a room, if the back end lets the device in. It stays in over changes of the connection.
    public func joinRoom(_ channel: String, data: Data = Data()) async throws(RequestError) -> JoinedRoom {
        try await translating(to: RequestError.self) {
            JoinedRoom(try await bridge.joinRoom(channel: channel, data: data))
        }
    }

    /// Leaves a room.
    public func leaveRoom(_ channel: String) async throws(RequestError) {
        try await translating(to: RequestError.self) { try await bridge.leaveRoom(channel: channel) }
    }

    /// Watches these users, at most 500, and no others, and returns their presence. ``Event/presence(_:)`` tells changes.
    @discardableResult
    public func watch(_ users: [String]) async throws(RequestError) -> [UserPresence] {
        try await translating(to: RequestError.self) { try await bridge.watch(users: users).map(UserPresence.init) }
    }

    /// Signals something to a user's devices, to a channel that the user is a member of, or to a room that the device is in. Returns
    /// `false` if it is not sent: there is no connection, or the receiver's id is not valid.
    @discardableResult
    public func signal(_ signal: Signal, to recipient: Recipient) async -> Bool {
        await bridge.signal(to: recipient.bridged, signal: signal.bridged)
    }

    /// Signals something to one device of a user, as ``ReceivedSignal/device`` names it. Returns `false` if it is not sent.
    @discardableResult
    public func signal(_ signal: Signal, toDevice device: String, of user: String) async -> Bool {
        await bridge.signalDevice(to: user, device: device, signal: signal.bridged)
    }

    // MARK: Private

    /// Begins to take events from the bridge: not before they are wanted, so that lists can be made first.
    private func startTaking() {
        guard queue.claimFilling() else { return }
        Task.detached { [bridge, queue, batches] in
            while true {
                await queue.awaitRoom()
                let batch = await bridge.nextEvents(max: Self.batch)
                if batch.isEmpty { break }
                queue.put(batch.map(Event.init))
                batches.change { $0.count += 1 }
            }
            queue.end()
            batches.change { $0.isEnded = true }
        }
    }

    private static func follow(_ bridge: IMBridge.Client, _ current: Watched<State>) async {
        var known = current.read { $0 }
        while known != .closed {
            let state = State(await bridge.stateChanged(known: known.bridged))
            current.change { $0 = state }
            known = state
        }
    }

    /// How many events are fetched at once.
    private static let batch: UInt32 = 256

    /// As many as the bridge itself lets wait.
    private static let queueCapacity = 256
}
