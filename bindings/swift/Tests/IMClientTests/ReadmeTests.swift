import Foundation
import Testing

struct ReadmeTests {
    @Test func theProgramOfTheReadmeChatsWithADevelopmentServer() async throws {
        let program = try read("Examples/Chat/Chat.swift")
        let readme = try read("README.md")
        #expect(readme.contains("```swift\n\(program)```"))

        let server = Program(
            try path(of: "im-server", in: "IM_SERVER"), ["--dev", "--websocket-port", "0", "--quic-port", "0"]
        )
        try server.start()
        let printed = try await server.awaitOutput("ready")
        let endpoint = try #require(printed.firstMatch(of: /endpoint (ws:\S+)/)).1
        let bobsToken = try #require(printed.firstMatch(of: /token bob (\S+)/)).1
        let alicesToken = try #require(printed.firstMatch(of: /token alice (\S+)/)).1
        let chat = { (token: Substring, peer: String) in
            // It was built beside the tests. Into a pipe it would print nothing until much has come together.
            let built = folder.appendingPathComponent(".build/debug/Chat").path
            let chat = Program("/usr/bin/env", ["stdbuf", "-oL", built, String(endpoint), String(token), peer])
            try chat.start()
            return chat
        }
        let bob = try chat(bobsToken, "alice")
        _ = try await bob.awaitOutput("connected as bob")
        let alice = try chat(alicesToken, "bob")
        _ = try await alice.awaitOutput("connected as alice[\\s\\S]*(bob|alice): hello")
    }

    private func read(_ file: String) throws -> String {
        try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
    }

    /// The package.
    private var folder: URL {
        URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    }
}
