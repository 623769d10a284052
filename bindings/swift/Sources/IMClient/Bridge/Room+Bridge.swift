import Foundation
internal import IMBridge

extension JoinedRoom {
    init(_ room: IMBridge.JoinedRoom) {
        self.init(online: room.online, answer: room.answer, recent: room.recent.map(ReceivedMessage.init))
    }
}

extension RoomLeftCause {
    init(_ cause: IMBridge.RoomLeftCause) {
        self =
            switch cause {
            case .kicked: .kicked
            case .closed: .closed
            case .refused: .refused
            case .unknown: .unknown
            }
    }
}

extension Signal {
    fileprivate init(_ signal: IMBridge.Signal) {
        self =
            switch signal {
            case .typing(let stopped): .typing(isStopped: stopped)
            case .call(let id, let step, let data): .call(id: id, step: CallStep(step), data: data)
            case .custom(let kind, let data): .custom(kind: kind, data: data)
            case .unknown: .unknown
            }
    }

    var bridged: IMBridge.Signal {
        switch self {
        case .typing(let isStopped): .typing(stopped: isStopped)
        case .call(let id, let step, let data): .call(id: id, step: step.bridged, data: data)
        case .custom(let kind, let data): .custom(kind: kind, data: data)
        case .unknown: .unknown
        }
    }
}

extension CallStep {
    fileprivate init(_ step: IMBridge.CallStep) {
        self =
            switch step {
            case .ring: .ring
            case .cancel: .cancel
            case .busy: .busy
            case .offer: .offer
            case .answer: .answer
            case .candidate: .candidate
            case .hangup: .hangup
            case .answeredElsewhere: .answeredElsewhere
            case .unknown: .unknown
            }
    }

    fileprivate var bridged: IMBridge.CallStep {
        switch self {
        case .ring: .ring
        case .cancel: .cancel
        case .busy: .busy
        case .offer: .offer
        case .answer: .answer
        case .candidate: .candidate
        case .hangup: .hangup
        case .answeredElsewhere: .answeredElsewhere
        case .unknown: .unknown
        }
    }
}

extension ReceivedSignal {
    init(_ signal: IMBridge.ReceivedSignal) {
        self.init(
            fromUser: signal.fromUser, device: signal.device, channel: signal.channel, signal: Signal(signal.signal)
        )
    }
}

extension UserPresence {
    init(_ presence: IMBridge.UserPresence) {
        self.init(user: presence.user, terminals: presence.terminals.map(TerminalPresence.init))
    }
}

extension TerminalPresence {
    fileprivate init(_ presence: IMBridge.TerminalPresence) {
        self.init(
            terminal: Terminal(presence.terminal), isOnline: presence.online,
            lastSeen: presence.lastSeenMs.map(Date.init(unixMilliseconds:))
        )
    }
}
