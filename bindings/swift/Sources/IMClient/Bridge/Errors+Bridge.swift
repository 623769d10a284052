internal import IMBridge

/// A public error that stands for one of the bridge.
protocol BridgedError: Error {
    init(bridged error: any Error)
}

/// Runs `body` and throws the public error for that of the bridge.
func translating<T, Failure: BridgedError>(to type: Failure.Type, _ body: () throws -> T) throws(Failure) -> T {
    do {
        return try body()
    } catch {
        throw Failure(bridged: error)
    }
}

/// Runs `body` and throws the public error for that of the bridge.
func translating<T: Sendable, Failure: BridgedError>(
    to type: Failure.Type, _ body: @Sendable () async throws -> T
) async throws(Failure) -> T {
    do {
        return try await body()
    } catch {
        throw Failure(bridged: error)
    }
}

extension OpenError: BridgedError {
    init(bridged error: any Error) {
        guard let error = error as? IMBridge.OpenError else {
            self.init(code: .internal, reason: "\(error)")
            return
        }
        let reason =
            switch error {
            case .NoEndpoints(let reason), .InvalidConfig(let reason), .Tls(let reason), .Store(let reason): reason
            case .NoRuntime(let reason): "the runtime cannot be started: \(reason)"
            }
        self.init(code: ErrorCode(rawValue: error.code()), reason: reason)
    }
}

extension SendError: BridgedError {
    init(bridged error: any Error) {
        guard let error = error as? IMBridge.SendError else {
            self.init(code: .internal, reason: "\(error)")
            return
        }
        let reason =
            switch error {
            case .InvalidId(let reason), .QueueFull(let reason), .TooLarge(let reason, _, _), .NoContent(let reason),
                .Store(let reason), .NotFailed(let reason), .Closed(let reason):
                reason
            }
        self.init(code: ErrorCode(rawValue: error.code()), reason: reason)
    }
}

extension PublishError: BridgedError {
    init(bridged error: any Error) {
        guard let error = error as? IMBridge.PublishError else {
            self.init(code: .internal, reason: "\(error)", refusal: nil, isRetryable: false)
            return
        }
        let reason: String
        var refusal: Refusal?
        switch error {
        case .InvalidId(let said), .QueueFull(let said), .TooLarge(let said, _, _), .NoContent(let said),
            .TimedOut(let said), .NotConnected(let said), .Unconfirmed(let said), .Discarded(let said),
            .Store(let said), .Stopped(let said), .Closed(let said):
            reason = said
        case .Refused(let kind, let said, let ruleCode, let retryAfterMs):
            reason = "the message was refused: \(said)"
            refusal = Refusal(kind, said, ruleCode, retryAfterMs)
        }
        let code = ErrorCode(rawValue: error.code())
        self.init(code: code, reason: reason, refusal: refusal, isRetryable: error.isRetryable())
    }
}

extension RequestError: BridgedError {
    init(bridged error: any Error) {
        guard let error = error as? IMBridge.RequestError else {
            self.init(code: .internal, reason: "\(error)", refusal: nil)
            return
        }
        let reason: String
        var refusal: Refusal?
        switch error {
        case .InvalidId(let said), .QueueFull(let said), .TimedOut(let said), .TooLarge(let said, _, _),
            .TooManyRooms(let said), .Stopped(let said), .NotConnected(let said), .Closed(let said):
            reason = said
        case .Refused(let kind, let said, let ruleCode, let retryAfterMs):
            reason = "the request was refused: \(said)"
            refusal = Refusal(kind, said, ruleCode, retryAfterMs)
        }
        self.init(code: ErrorCode(rawValue: error.code()), reason: reason, refusal: refusal)
    }
}

extension MarkError: BridgedError {
    init(bridged error: any Error) {
        guard let error = error as? IMBridge.MarkError else {
            self.init(code: .internal, reason: "\(error)")
            return
        }
        let reason =
            switch error {
            case .InvalidId(let reason), .DraftTooLong(let reason, _), .QueueFull(let reason), .Closed(let reason):
                reason
            }
        self.init(code: ErrorCode(rawValue: error.code()), reason: reason)
    }
}

extension InvalidContentError: BridgedError {
    init(bridged error: any Error) {
        switch error as? IMBridge.InvalidContent {
        case .Invalid(let reason): self.init(code: .invalid, reason: reason)
        case nil: self.init(code: .internal, reason: "\(error)")
        }
    }
}

extension TokenError {
    var bridged: IMBridge.TokenError {
        switch self {
        case .unavailable(let reason): .Unavailable(reason: reason)
        case .denied(let reason): .Denied(reason: reason)
        }
    }
}

extension Refusal {
    fileprivate init(_ kind: IMBridge.RefusalKind, _ reason: String, _ ruleCode: Int32, _ retryAfterMs: UInt64?) {
        let retryAfter = retryAfterMs.map(Duration.init(wholeMilliseconds:))
        self.init(kind: RefusalKind(kind), reason: reason, ruleCode: Int(ruleCode), retryAfter: retryAfter)
    }
}

extension RefusalKind {
    init(_ kind: IMBridge.RefusalKind) {
        self =
            switch kind {
            case .rule: .rule
            case .unavailable: .unavailable
            case .invalid: .invalid
            case .tooMany: .tooMany
            case .internal: .internal
            case .noBackend: .noBackend
            case .numberUsed: .numberUsed
            case .unknown: .unknown
            }
    }
}
