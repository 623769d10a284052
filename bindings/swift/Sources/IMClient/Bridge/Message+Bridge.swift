internal import IMBridge

extension Recipient {
    init(_ recipient: IMBridge.Recipient) {
        self =
            switch recipient {
            case .user(let user): .user(user)
            case .channel(let channel): .channel(channel)
            }
    }

    var bridged: IMBridge.Recipient {
        switch self {
        case .user(let user): .user(user: user)
        case .channel(let channel): .channel(channel: channel)
        }
    }
}

extension Conversation {
    var bridged: IMBridge.Conversation {
        switch self {
        case .user(let user): .user(user: user)
        case .channel(let channel): .channel(channel: channel)
        case .inbox: .inbox
        }
    }
}

extension ReceivedMessage {
    init(_ message: IMBridge.ReceivedMessage) {
        self.init(
            id: message.id, fromUser: message.fromUser, toUser: message.toUser, channel: message.channel,
            content: Content(message.content), localID: message.localId, transport: Transport(message.transport),
            position: message.position.map(Position.init)
        )
    }

    var bridged: IMBridge.ReceivedMessage {
        IMBridge.ReceivedMessage(
            id: id, fromUser: fromUser, toUser: toUser, channel: channel, content: content.bridged, localId: localID,
            transport: transport.bridged, position: position?.bridged
        )
    }
}

extension MessageRef {
    init(_ reference: IMBridge.MessageRef) {
        let conversation: Recipient = reference.toChannel.map { .channel($0) } ?? .user(reference.toUser ?? "")
        self.init(conversation: conversation, id: reference.id, seq: reference.seq)
    }

    var bridged: IMBridge.MessageRef {
        switch conversation {
        case .user(let user): IMBridge.MessageRef(toUser: user, toChannel: nil, id: id, seq: seq)
        case .channel(let channel): IMBridge.MessageRef(toUser: nil, toChannel: channel, id: id, seq: seq)
        }
    }
}

extension Position {
    init(_ position: IMBridge.Position) {
        self.init(channel: position.channel, seq: position.seq, id: position.id)
    }

    var bridged: IMBridge.Position {
        IMBridge.Position(channel: channel, seq: seq, id: id)
    }
}

extension Transport {
    init(_ transport: IMBridge.Transport) {
        self =
            switch transport {
            case .quic: .quic
            case .webSocket: .webSocket
            }
    }

    fileprivate var bridged: IMBridge.Transport {
        switch self {
        case .quic: .quic
        case .webSocket: .webSocket
        }
    }
}
