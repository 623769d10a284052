import Foundation
import IMClient

/// The driver of the scenarios in Swift: bindings/scenarios/README.md describes its protocol.
@main
struct ScenarioDriver {
    @MainActor
    static func main() async throws {
        var device: Device?
        while let line = readLine() {
            let request = try Request(line)
            var answer: [String: Any]
            do {
                if request.text("op") == "open" {
                    device = try await Device(opening: request)
                    answer = [:]
                } else if let device {
                    answer = try await device.answer(request)
                } else {
                    throw Unanswerable(code: "invalid", message: "nothing was opened")
                }
            } catch let error as any IMError {
                answer = ["error": ["code": error.code.rawValue, "message": error.reason]]
            } catch let error as Unanswerable {
                answer = ["error": ["code": error.code, "message": error.message]]
            }
            FileHandle.standardOutput.write(try JSONSerialization.data(withJSONObject: answer) + Data("\n".utf8))
        }
    }
}

/// A request that the driver cannot answer.
struct Unanswerable: Error {
    let code: String
    let message: String
}

/// The device that the driver holds.
@MainActor
final class Device {
    private let client: Client
    private let events: Inbox
    private var sends: [String: SendHandle] = [:]
    private var messages: [ReceivedMessage] = []

    init(opening request: Request) async throws {
        let config = ClientConfig(
            endpoints: request.texts("endpoints"), terminal: .other, deviceID: request.text("device"),
            storePath: request.text("store"), trust: .certificateSHA256(request.text("trust_sha256"))
        )
        client = try await Client.open(config, tokens: Tokens(request.texts("tokens")))
        events = Inbox()
        Task { [client, events] in
            for await event in client.events { await events.put(event) }
        }
    }

    func answer(_ request: Request) async throws -> [String: Any] {
        switch request.text("op") {
        case "connect": client.connect()
        case "disconnect": client.disconnect()
        case "ack":
            let id = request.fields["id"].flatMap { UInt64("\($0)") }
            client.ack(Position(channel: request.text("channel"), seq: request.number("seq"), id: id))
        case "next":
            let event = await events.next(within: .milliseconds(request.number("within_ms")))
            if case .message(let message)? = event { messages.append(message) }
            return ["event": event.map { describe($0) as Any } ?? NSNull()]
        case "send": return keep(try await client.send(request.text("text"), to: try request.recipient("to")))
        case "outcome":
            guard let handle = sends[request.text("local_id")] else { throw unknown("send") }
            return ["message_id": json(try await handle.outcome().messageID)]
        case "unsettled": return ["sends": await client.unsettledSends().map { describe($0) }]
        case "history":
            let conversation = Conversation(try request.recipient("conversation"))
            let page = try await client.history(conversation, limit: Int(request.number("limit")))
            return ["messages": page.messages.map { describe($0) }]
        case "react":
            let wanted = (request.fields["message"] as? [String: Any])?["id"] as? String
            guard let message = messages.first(where: { String($0.id) == wanted }),
                let reference = message.reference(for: request.text("me"))
            else { throw unknown("message") }
            return keep(try await client.react(to: reference, with: request.text("emoji")))
        case "shows":
            let timeline = try Timeline(for: request.text("me"))
            for message in messages { try timeline.apply(message) }
            guard let shown = UInt64(request.text("id")).flatMap({ timeline[$0] }) else { throw unknown("message") }
            let reactions = Dictionary(uniqueKeysWithValues: shown.reactions.map { ($0.emoji, $0.users) })
            return ["text": json(shown.content?.text), "reactions": reactions]
        case "typing": return ["sent": await client.signal(.typing(), to: try request.recipient("to"))]
        case "shutdown": await client.shutdown()
        case let other: throw Unanswerable(code: "unsupported", message: "there is no \(other)")
        }
        return [:]
    }

    private func keep(_ handle: SendHandle) -> [String: Any] {
        sends[String(handle.localID)] = handle
        return ["local_id": String(handle.localID)]
    }

    private func unknown(_ what: String) -> Unanswerable {
        Unanswerable(code: "invalid", message: "there is no such \(what)")
    }
}

/// Gives the first token; when it was refused the next one, and after the last none.
actor Tokens: TokenProvider {
    private var tokens: [String]

    init(_ tokens: [String]) {
        self.tokens = tokens
    }

    func token(for request: TokenRequest) throws -> String {
        if case .rejected = request, !tokens.isEmpty { tokens.removeFirst() }
        guard let token = tokens.first else { throw TokenError.denied("there is no other token") }
        return token
    }
}

/// Events that came and were not asked for yet.
actor Inbox {
    private var events: [Event] = []
    private var waiting: CheckedContinuation<Void, Never>?

    func put(_ event: Event) {
        events.append(event)
        wake()
    }

    /// Returns `nil` if none comes in time.
    func next(within limit: Duration) async -> Event? {
        let end = ContinuousClock.now + limit
        while events.isEmpty && ContinuousClock.now < end {
            let timer = Task {
                try await Task.sleep(until: end, clock: .continuous)
                wake()
            }
            await withCheckedContinuation { waiting = $0 }
            timer.cancel()
        }
        return events.isEmpty ? nil : events.removeFirst()
    }

    private func wake() {
        waiting?.resume()
        waiting = nil
    }
}

/// A line of the protocol.
struct Request {
    let fields: [String: Any]

    init(_ line: String) throws {
        guard let fields = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
            throw Unanswerable(code: "invalid", message: "this is no object: \(line)")
        }
        self.fields = fields
    }

    func text(_ name: String) -> String { fields[name] as? String ?? "" }

    func texts(_ name: String) -> [String] { fields[name] as? [String] ?? [] }

    func number(_ name: String) -> UInt64 { (fields[name] as? NSNumber)?.uint64Value ?? 0 }

    func recipient(_ name: String) throws -> Recipient {
        let named = fields[name] as? [String: String] ?? [:]
        if let user = named["user"] { return .user(user) }
        if let channel = named["channel"] { return .channel(channel) }
        throw Unanswerable(code: "invalid", message: "\(name) names nobody")
    }
}

private func json(_ text: String?) -> Any { text.map { $0 as Any } ?? NSNull() }

private func json(_ id: UInt64?) -> Any { id.map { String($0) as Any } ?? NSNull() }

private func json(_ code: UInt16?) -> Any { code.map { Int($0) as Any } ?? NSNull() }

private func describe(_ event: Event) -> [String: Any] {
    switch event {
    case .connected(let user, _, _): ["type": "connected", "user": user]
    case .disconnected(let code, _, _): ["type": "disconnected", "code": json(code)]
    case .message(let message): ["type": "message", "message": describe(message)]
    case .upToDate: ["type": "up_to_date"]
    case .reset(let position, let reason):
        describe(position).merging(["type": "reset", "reason": "\(reason)"]) { _, new in new }
    case .published(let localID, let published):
        ["type": "published", "local_id": String(localID), "message_id": json(published.messageID)]
    case .publishFailed(let localID, let failure):
        ["type": "publish_failed", "local_id": String(localID), "code": failure.code.rawValue]
    case .stopped(let code, let cause, _): ["type": "stopped", "code": json(code), "cause": cause]
    case .signal(let signal) where isTyping(signal.signal): ["type": "typing", "from": signal.fromUser]
    default: ["type": "other"]
    }
}

private func isTyping(_ signal: Signal) -> Bool {
    if case .typing = signal { true } else { false }
}

private func describe(_ message: ReceivedMessage) -> [String: Any] {
    [
        "id": String(message.id), "from": json(message.fromUser), "to": json(message.toUser),
        "channel": json(message.channel), "local_id": json(message.localID), "text": json(message.text),
        "position": message.position.map { describe($0) as Any } ?? NSNull(),
    ]
}

private func describe(_ position: Position) -> [String: Any] {
    ["channel": position.channel, "seq": position.seq, "id": json(position.id)]
}

private func describe(_ send: UnsettledSend) -> [String: Any] {
    ["local_id": String(send.handle.localID), "text": json(send.content.text), "state": "\(send.state)"]
}
