import IMClient

/// Says hello to another user and prints what comes: ENDPOINT TOKEN USER.
@main
struct Chat {
    static func main() async throws {
        let (endpoint, token, peer) = (CommandLine.arguments[1], CommandLine.arguments[2], CommandLine.arguments[3])
        let config = ClientConfig(endpoints: [endpoint], terminal: .desktop, deviceID: "chat-swift")
        // In a product: ask your back end for a token, each time.
        let client = try await Client.open(config) { _ in token }
        client.connect()
        // The store has it: it travels as soon as it can.
        try await client.send("hello", to: .user(peer))
        for await event in client.events {
            switch event {
            case .connected(let user, _, _): print("connected as \(user)")
            case .message(let message):
                print("\(message.fromUser ?? "back end"): \(message.text ?? "")")
                // Dealt with: it does not come again.
                if let position = message.position { client.ack(position) }
            case .published: print("sent")
            case .stopped(_, _, let reason): print("stopped: \(reason)")
            default: break
            }
        }
    }
}
