import Foundation

/// A failure of the SDK. Its reason says what happened and what to do.
public protocol IMError: LocalizedError, CustomStringConvertible, Sendable {
    /// The name of the error that stays the same over versions and languages.
    var code: ErrorCode { get }

    /// The reason, for people.
    var reason: String { get }
}

extension IMError {
    public var description: String { "\(code): \(reason)" }

    public var errorDescription: String? { reason }
}

/// The name of an error, such as `timed_out`. It stays the same over versions and languages.
public struct ErrorCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: String

    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    public var description: String { rawValue }

    /// The client is closed.
    public static let closed = ErrorCode(rawValue: "closed")
    /// The application has no token, and will not have one.
    public static let denied = ErrorCode(rawValue: "denied")
    /// The message was discarded before it was sent.
    public static let discarded = ErrorCode(rawValue: "discarded")
    /// The draft is too long.
    public static let draftTooLong = ErrorCode(rawValue: "draft_too_long")
    /// The SDK itself has failed.
    public static let `internal` = ErrorCode(rawValue: "internal")
    /// The content, or a reference to a message, is not valid.
    public static let invalid = ErrorCode(rawValue: "invalid")
    /// An endpoint, the device id, a certificate or a fingerprint is not valid.
    public static let invalidConfig = ErrorCode(rawValue: "invalid_config")
    /// An id is not valid.
    public static let invalidID = ErrorCode(rawValue: "invalid_id")
    /// The content cannot be sent.
    public static let noContent = ErrorCode(rawValue: "no_content")
    /// There is no endpoint.
    public static let noEndpoints = ErrorCode(rawValue: "no_endpoints")
    /// The process cannot have the threads or files that the client needs.
    public static let noRuntime = ErrorCode(rawValue: "no_runtime")
    /// The application has not asked for a connection, or has ended it.
    public static let notConnected = ErrorCode(rawValue: "not_connected")
    /// The send has not failed, or was discarded or retried since.
    public static let notFailed = ErrorCode(rawValue: "not_failed")
    /// Too many requests wait already.
    public static let queueFull = ErrorCode(rawValue: "queue_full")
    /// A server or a back end refused.
    public static let refused = ErrorCode(rawValue: "refused")
    /// The client is stopped: see ``Event/stopped(code:cause:reason:)``.
    public static let stopped = ErrorCode(rawValue: "stopped")
    /// The store could not be opened, is in use, or could not keep something.
    public static let store = ErrorCode(rawValue: "store")
    /// There was no time left.
    public static let timedOut = ErrorCode(rawValue: "timed_out")
    /// TLS cannot be set up.
    public static let tls = ErrorCode(rawValue: "tls")
    /// It does not fit into a frame.
    public static let tooLarge = ErrorCode(rawValue: "too_large")
    /// The device is in as many rooms as it may be.
    public static let tooManyRooms = ErrorCode(rawValue: "too_many_rooms")
    /// The application has no token at the moment.
    public static let unavailable = ErrorCode(rawValue: "unavailable")
    /// The message was sent, and it is not known whether it arrived.
    public static let unconfirmed = ErrorCode(rawValue: "unconfirmed")
}

/// A client could not be opened, or could not be told where servers listen: `noEndpoints`, `invalidConfig`, `noRuntime`, `tls` or
/// `store`.
public struct OpenError: IMError, Equatable {
    public let code: ErrorCode
    public let reason: String
}

/// A send was not taken. Nothing was sent, and nothing will be: `invalidID`, `queueFull`, `tooLarge`, `noContent`, `store`,
/// `notFailed` or `closed`.
public struct SendError: IMError, Equatable {
    public let code: ErrorCode
    public let reason: String
}

/// A send did not succeed. With `invalidID`, `queueFull`, `tooLarge`, `noContent`, `timedOut`, `notConnected`, `refused`, `discarded`,
/// `store`, `stopped` and `closed` it is certain that nothing came of it. With `unconfirmed` it may have arrived: sending it again
/// may send it twice.
public struct PublishError: IMError, Equatable {
    public let code: ErrorCode
    public let reason: String

    /// The refusal, for the code `refused`.
    public let refusal: Refusal?

    /// Whether a retry may succeed and cannot arrive twice.
    public let isRetryable: Bool
}

/// A request has no answer; asking again is always safe: `invalidID`, `queueFull`, `timedOut`, `refused`, `tooLarge`, `tooManyRooms`,
/// `stopped`, `notConnected` or `closed`.
public struct RequestError: IMError, Equatable {
    public let code: ErrorCode
    public let reason: String

    /// The refusal, for the code `refused`.
    public let refusal: Refusal?
}

/// Nothing was set in a conversation: `invalidID`, `draftTooLong`, `queueFull` or `closed`.
public struct MarkError: IMError, Equatable {
    public let code: ErrorCode
    public let reason: String
}

/// A content or a reference is not valid: `invalid`.
public struct InvalidContentError: IMError, Equatable {
    public let code: ErrorCode
    public let reason: String
}

/// The application has no token. A ``TokenProvider`` throws it.
public enum TokenError: IMError, Equatable {
    /// There is no token at the moment. The client asks again, with backoff. Any other error counts as this.
    case unavailable(String)

    /// There will be no token. The client stops.
    case denied(String)

    public var code: ErrorCode {
        switch self {
        case .unavailable: .unavailable
        case .denied: .denied
        }
    }

    public var reason: String {
        switch self {
        case .unavailable(let reason), .denied(let reason): reason
        }
    }
}

/// The word of a server or a back end that refused.
public struct Refusal: Hashable, Sendable {
    /// The kind, for programs.
    public let kind: RefusalKind
    /// The reason, for people.
    public let reason: String
    /// The application's own code for a ``RefusalKind/rule``, 0 or more, or a negative one of the SDK; otherwise 0.
    public let ruleCode: Int
    /// The time after which the same may be tried again. `nil`: never.
    public let retryAfter: Duration?
}

/// The kinds of refusals.
public enum RefusalKind: Hashable, Sendable {
    /// The back end's rules say no.
    case rule
    /// No back end is listening, or it did not answer in time.
    case unavailable
    /// The request makes no sense.
    case invalid
    /// Too many requests wait for their results, or come too fast.
    case tooMany
    /// The back end failed while it handled the request.
    case `internal`
    /// No back end has taken it, and nothing came of it: it may be sent anew.
    case noBackend
    /// The number of the send was used for another one, as after the device's store was restored from a backup.
    case numberUsed
    /// A kind that this version does not know.
    case unknown
}
