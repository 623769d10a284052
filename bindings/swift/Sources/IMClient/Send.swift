import Foundation
internal import IMBridge

/// The answer of the back end that took a message.
public struct Published: Hashable, Sendable {
    /// The id that the message got. `nil`: the back end handled it without sending a message.
    public let messageID: UInt64?
    /// The application's own answer, often empty.
    public let answer: Data
}

/// A message that the client has taken, and its outcome. Letting go of it does not cancel the send.
public struct SendHandle: Sendable {
    /// The id of the send on this device. Events and ``ReceivedMessage/localID`` carry it.
    public let localID: UInt64

    private let bridge: IMBridge.SendHandle

    init(_ bridge: IMBridge.SendHandle) {
        self.bridge = bridge
        localID = bridge.localId()
    }

    /// Waits for the outcome, as long as it takes. ``Client/shutdown()`` ends the wait.
    ///
    /// The error says whether anything was sent.
    @discardableResult
    public func outcome() async throws(PublishError) -> Published {
        try await translating(to: PublishError.self) { Published(try await bridge.outcome()) }
    }

    /// Forgets the send if it has failed, or was never handed to a connection. Returns `false` if it may be on its way, or is settled.
    @discardableResult
    public func discard() async -> Bool {
        await bridge.discard()
    }

    /// Sends anew what has failed, under a new id. The failed send is forgotten.
    ///
    /// After an error nothing is sent, and the failed send stays.
    public func retry() async throws(SendError) -> SendHandle {
        try await translating(to: SendError.self) { SendHandle(try await bridge.retry()) }
    }
}

extension SendHandle: Hashable {
    public static func == (left: SendHandle, right: SendHandle) -> Bool {
        left.localID == right.localID
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(localID)
    }
}

/// A send that is not settled.
public struct UnsettledSend: Hashable, Sendable {
    /// Its handle, to wait for its outcome, discard it or retry it.
    public let handle: SendHandle
    /// The receiver.
    public let to: Recipient
    /// The content.
    public let content: Content
    /// Its state.
    public let state: SendState
    /// The reason of its failure, if it has failed.
    public let failure: SendFailure?
}

/// The states of a send that is not settled.
public enum SendState: Hashable, Sendable {
    /// It waits for a connection, or for an earlier send to the same receiver.
    case pending
    /// It was handed to a connection, and no answer has come.
    case sent
    /// It failed for good.
    case failed
}

/// The reason why a send failed for good.
public struct SendFailure: Hashable, Sendable {
    /// The name of the error that stays the same over versions and languages.
    public let code: ErrorCode
    /// The reason, for people.
    public let reason: String
    /// The kind of the refusal, if it was refused.
    public let refusal: RefusalKind?
    /// The application's own code for a ``RefusalKind/rule``, 0 or more, or a negative one of the SDK; otherwise 0.
    public let ruleCode: Int
    /// Whether a retry may succeed and cannot arrive twice.
    public let isRetryable: Bool
}

extension Published {
    init(_ published: IMBridge.Published) {
        self.init(messageID: published.messageId, answer: published.answer)
    }
}

extension UnsettledSend {
    init(_ send: IMBridge.UnsettledSend) {
        let state: SendState =
            switch send.state {
            case .pending: .pending
            case .sent: .sent
            case .failed: .failed
            }
        self.init(
            handle: SendHandle(send.handle), to: Recipient(send.to), content: Content(send.content), state: state,
            failure: send.failure.map(SendFailure.init)
        )
    }
}

extension SendFailure {
    fileprivate init(_ failure: IMBridge.SendFailure) {
        self.init(
            code: ErrorCode(rawValue: failure.code), reason: failure.reason,
            refusal: failure.kind.map(RefusalKind.init),
            ruleCode: Int(failure.ruleCode), isRetryable: failure.retryable
        )
    }
}
