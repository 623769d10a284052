import Foundation
import Testing

/// A server with a back end that keeps everything: `cli-chat serve`, which can be killed and started again.
final class TestServer: Sendable {
    /// One for all tests that do not kill it.
    static let shared = Task { try await TestServer() }

    private let port: UInt16
    private let folder: URL
    private let program: Program

    init() async throws {
        port = try freePort()
        folder = try temporaryFolder()
        program = Program(
            try path(of: "cli-chat", in: "IM_CLI_CHAT"),
            ["serve", "--listen", "127.0.0.1:\(port)", "--data", folder.path]
        )
        try await start()
    }

    deinit {
        program.kill()
        try? FileManager.default.removeItem(at: folder)
    }

    var webSocket: String { "ws://127.0.0.1:\(port)" }

    var quic: String { "quic://127.0.0.1:\(port)" }

    /// The fingerprint of the certificate, which QUIC needs.
    func fingerprint() throws -> String { try setting("certificate-sha256") }

    func start() async throws {
        try program.start()
        try await eventually("the server listens") {
            try self.program.checkRunning()
            return canConnect(to: self.port)
        }
    }

    /// Kills it with -9.
    func kill() {
        program.kill()
    }

    /// Mints a token as a back end does.
    func token(_ user: String, seconds: Int = 3600) throws -> String {
        let now = Int(Date().timeIntervalSince1970)
        let claims = #"{"sub":"\#(user)","iss":"cli-chat","aud":"im","iat":\#(now),"exp":\#(now + seconds)}"#
        let signed = base64(#"{"alg":"HS256","kid":"dev","typ":"JWT"}"#) + "." + base64(claims)
        let key = Array(try setting("secret").utf8)
        return signed + "." + base64(Data(hmacSHA256(key: key, Array(signed.utf8))))
    }

    private func setting(_ name: String) throws -> String {
        let lines = try String(contentsOf: folder.appendingPathComponent("server.dev"), encoding: .utf8).split(
            separator: "\n")
        let line = try #require(lines.first { $0.hasPrefix(name + " ") })
        return String(line.dropFirst(name.count + 1))
    }
}

/// A program that a test starts. It is killed when the tests end.
final class Program: @unchecked Sendable {
    private let executable: String
    private let arguments: [String]
    private let lock = NSLock()
    private var process = Process()
    private var printed = Data()

    init(_ executable: String, _ arguments: [String]) {
        self.executable = executable
        self.arguments = arguments
    }

    deinit {
        kill()
    }

    func start() throws {
        let pipe = Pipe()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        pipe.fileHandleForReading.readabilityHandler = { [weak self] handle in
            let data = handle.availableData
            if data.isEmpty { handle.readabilityHandler = nil }
            self?.lock.withLock { self?.printed.append(data) }
        }
        try process.run()
        lock.withLock { self.process = process }
        Leftovers.add(process.processIdentifier)
    }

    var output: String { lock.withLock { String(decoding: printed, as: UTF8.self) } }

    func checkRunning() throws {
        if !lock.withLock({ process }).isRunning { throw Unexpected("\(executable) ended: \(output)") }
    }

    func kill() {
        let process = lock.withLock { self.process }
        guard process.isRunning else { return }
        _ = Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        Leftovers.remove(process.processIdentifier)
    }

    /// Waits until the program has printed something.
    func awaitOutput(_ pattern: String) async throws -> String {
        try await eventually("\(executable) prints \(pattern)") {
            if self.output.range(of: pattern, options: .regularExpression) != nil { return true }
            try self.checkRunning()
            return false
        }
        return output
    }
}

/// Programs that still run when the tests end, and folders that are still there: the shared server is never let go.
private enum Leftovers {
    private static let lock = NSLock()
    nonisolated(unsafe) private static var identifiers: Set<Int32> = []
    nonisolated(unsafe) private static var folders: [URL] = []
    private static let removal: Void = {
        atexit {
            for identifier in identifiers { _ = Foundation.kill(identifier, SIGKILL) }
            for folder in folders { try? FileManager.default.removeItem(at: folder) }
        }
    }()

    static func add(_ identifier: Int32) {
        _ = removal
        lock.withLock { _ = identifiers.insert(identifier) }
    }

    static func add(_ folder: URL) {
        _ = removal
        lock.withLock { folders.append(folder) }
    }

    static func remove(_ identifier: Int32) {
        lock.withLock { _ = identifiers.remove(identifier) }
    }
}

struct Unexpected: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// For anything that must happen, on a busy machine.
let patience = Duration.seconds(20)

/// Waits until a condition holds, and fails after a while.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + patience
    while try await !condition() {
        guard ContinuousClock.now < end else { throw Unexpected("timed out after \(patience) waiting until \(what)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}

/// Fails if it takes too long. What does not end when its task is cancelled, such as a request, is left behind then.
func patient<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
    let (results, end) = AsyncThrowingStream.makeStream(of: T.self)
    let working = Task {
        do {
            end.yield(try await body())
        } catch {
            end.finish(throwing: error)
        }
    }
    let limit = Task {
        try await Task.sleep(for: patience)
        end.finish(throwing: Unexpected("timed out after \(patience)"))
    }
    defer {
        working.cancel()
        limit.cancel()
    }
    for try await result in results { return result }
    throw CancellationError()
}

/// Returns the path of a program of the workspace.
func path(of name: String, in variable: String) throws -> String {
    let path = ProcessInfo.processInfo.environment[variable] ?? "../../target/debug/\(name)"
    guard FileManager.default.isExecutableFile(atPath: path) else {
        throw Unexpected("\(path) is missing: run `cargo build --workspace --bins`, or set \(variable)")
    }
    return path
}

func temporaryFolder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("im-swift-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    Leftovers.add(folder)
    return folder
}

private func freePort() throws -> UInt16 {
    let socket = openSocket()
    defer { close(socket) }
    var address = loopback(port: 0)
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withSocketAddress(&address) { pointer in
        bind(socket, pointer, size) == 0 ? getsockname(socket, pointer, &size) : -1
    }
    guard result == 0 else { throw Unexpected("there is no free port") }
    return UInt16(bigEndian: address.sin_port)
}

private func canConnect(to port: UInt16) -> Bool {
    let socket = openSocket()
    defer { close(socket) }
    var address = loopback(port: port)
    return withSocketAddress(&address) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
}

private func openSocket() -> Int32 {
    #if canImport(Glibc)
        socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #else
        socket(AF_INET, SOCK_STREAM, 0)
    #endif
}

private func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
}

private func withSocketAddress<R>(_ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>) -> R) -> R {
    withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body)
    }
}

private func base64(_ text: String) -> String { base64(Data(text.utf8)) }

private func base64(_ bytes: Data) -> String {
    bytes.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
        .replacingOccurrences(of: "=", with: "")
}
