internal import IMBridge

extension Event {
    init(_ event: IMBridge.Event) {
        self =
            switch event {
            case .connected(let user, let transport, let endpoint):
                .connected(user: user, transport: Transport(transport), endpoint: endpoint)
            case .disconnected(let code, let reason, let retryInMs):
                .disconnected(code: code, reason: reason, retryIn: retryInMs.map(Duration.init(wholeMilliseconds:)))
            case .message(let message): .message(ReceivedMessage(message))
            case .upToDate: .upToDate
            case .reset(let position, let reason): .reset(Position(position), reason: ResetReason(reason))
            case .conversationsChanged(let states): .conversationsChanged(states.map(ConversationState.init))
            case .channelRead(let receipt): .channelRead(ReadReceipt(receipt))
            case .signal(let signal): .signal(ReceivedSignal(signal))
            case .presence(let presence): .presence(UserPresence(presence))
            case .roomLeft(let channel, let cause, let reason, let ruleCode):
                .roomLeft(channel: channel, cause: RoomLeftCause(cause), reason: reason, ruleCode: Int(ruleCode))
            case .published(let localID, let messageID, let answer):
                .published(localID: localID, Published(messageID: messageID, answer: answer))
            case .publishFailed(let localID, let code, let reason, let kind, let ruleCode, let retryable):
                .publishFailed(
                    localID: localID,
                    SendFailure(
                        code: ErrorCode(rawValue: code), reason: reason, refusal: kind.map(RefusalKind.init),
                        ruleCode: Int(ruleCode), isRetryable: retryable
                    )
                )
            case .stopped(let code, let cause, let reason): .stopped(code: code, cause: cause, reason: reason)
            case .unknown: .unknown
            }
    }
}

extension State {
    init(_ state: IMBridge.State) {
        self =
            switch state {
            case .disconnected: .disconnected
            case .connecting: .connecting
            case .connected: .connected
            case .waiting: .waiting
            case .stopped: .stopped
            case .closed: .closed
            }
    }

    var bridged: IMBridge.State {
        switch self {
        case .disconnected: .disconnected
        case .connecting: .connecting
        case .connected: .connected
        case .waiting: .waiting
        case .stopped: .stopped
        case .closed: .closed
        }
    }
}

extension ResetReason {
    fileprivate init(_ reason: IMBridge.ResetReason) {
        self =
            switch reason {
            case .new: .new
            case .trimmed: .trimmed
            case .forked: .forked
            case .left: .left
            }
    }
}
