import Foundation
import IMClient

/// Measures the client against a server: ENDPOINT MESSAGES IDLE, and on standard input a line `USER TOKEN` for each user. bench.py starts
/// it.
@main
struct Benchmark {
    static func main() async throws {
        guard CommandLine.arguments.count == 4, let count = Int(CommandLine.arguments[2]),
            let idle = Int(CommandLine.arguments[3])
        else { throw Unmeasurable("bench.py starts this program, with an endpoint and two numbers") }
        var tokens: [String: String] = [:]
        while let line = readLine() {
            let words = line.split(separator: " ")
            tokens[String(words[0])] = String(words[1])
        }
        let devices = Devices(endpoint: CommandLine.arguments[1], tokens: tokens)
        let figures = [
            // At first: memory that others have let go of would be taken again.
            ("KiB of an idle client", try await idleKiB(devices, idle)),
            ("events/s, iterated over", try await pulled(devices, "reader0", count, iterate)),
            ("events/s, taken in batches", try await pulled(devices, "reader1", count, takeBatches)),
            ("sends/s, answered, 64 at once", try await sent(devices, count)),
        ]
        for (name, figure) in figures { print("\(name): \(Int(figure.rounded()))") }
    }

    /// Events/s of a client that has fallen behind: they wait in its log, and it takes them as fast as it can.
    static func pulled(
        _ devices: Devices, _ user: String, _ count: Int, _ take: (Client, Int) async throws -> ContinuousClock.Instant
    ) async throws -> Double {
        let reader = try await devices.connect(user)
        reader.disconnect()
        for await state in reader.states where state == .disconnected { break }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for sender in 0..<count / Devices.sends {
                group.addTask {
                    let client = try await devices.connect("\(user)-sender\(sender)")
                    let taking = Task { for await _ in client.events {} }
                    var handles: [SendHandle] = []
                    for number in 0..<Devices.sends {
                        handles.append(try await client.send("message \(number)", to: .user(user)))
                    }
                    for handle in handles { try await handle.outcome() }
                    await client.shutdown()
                    await taking.value
                }
            }
            try await group.waitForAll()
        }
        reader.connect()
        let began = try await take(reader, count)
        let rate = Double(count) / seconds(since: began)
        await reader.shutdown()
        return rate
    }

    /// Takes messages, and returns when the first one came.
    static func iterate(_ client: Client, _ count: Int) async throws -> ContinuousClock.Instant {
        var taken = 0
        var began = ContinuousClock.now
        for await event in client.events {
            guard case .message(let message) = event, let position = message.position else { continue }
            if taken == 0 { began = .now }
            taken += 1
            if taken % 256 == 0 || taken == count { client.ack(position) }
            if taken == count { return began }
        }
        throw Unmeasurable("the client ended after \(taken) of \(count) messages")
    }

    /// Takes messages, and returns when the first ones came.
    static func takeBatches(_ client: Client, _ count: Int) async throws -> ContinuousClock.Instant {
        var taken = 0
        var began = ContinuousClock.now
        while taken < count {
            let batch = try await client.nextEvents()
            if batch.isEmpty { throw Unmeasurable("the client ended after \(taken) of \(count) messages") }
            let positions = batch.compactMap { if case .message(let message) = $0 { message.position } else { nil } }
            guard let last = positions.last else { continue }
            if taken == 0 { began = .now }
            taken += positions.count
            client.ack(last)
        }
        return began
    }

    /// Sends/s of one client after the other, each with its own budget at the back end.
    static func sent(_ devices: Devices, _ count: Int) async throws -> Double {
        var spent = 0.0
        for sender in 0..<count / Devices.sends {
            let client = try await devices.connect("sender\(sender)")
            let taking = Task { for await _ in client.events {} }
            let began = ContinuousClock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<64 {
                    group.addTask {
                        for number in stride(from: worker, to: Devices.sends, by: 64) {
                            try await client.sendAndWait("hi", to: .user("user\(number % 100)"))
                        }
                    }
                }
                try await group.waitForAll()
            }
            spent += seconds(since: began)
            await client.shutdown()
            await taking.value
        }
        return Double(count) / spent
    }

    /// The memory of this process that a client takes which is connected and has nothing to do.
    static func idleKiB(_ devices: Devices, _ count: Int) async throws -> Double {
        // The first one starts what all share.
        var clients = [try await devices.connect("idle0")]
        let before = try residentKiB()
        for number in 1...count { clients.append(try await devices.connect("idle\(number)")) }
        let after = try residentKiB()
        for client in clients { await client.shutdown() }
        return Double(after - before) / Double(count)
    }

    static func seconds(since began: ContinuousClock.Instant) -> Double {
        (ContinuousClock.now - began) / .seconds(1)
    }

    static func residentKiB() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }),
            let size = Int(line.filter(\.isNumber))
        else { throw Unmeasurable("/proc/self/status does not tell the memory") }
        return size
    }
}

struct Devices: Sendable {
    /// The number of messages that a user may send at once, by the budget of a back end.
    static let sends = 1000

    let endpoint: String
    let tokens: [String: String]

    /// Returns a client that is connected and has everything.
    func connect(_ user: String) async throws -> Client {
        guard let token = tokens[user] else { throw Unmeasurable("there is no token for \(user)") }
        let config = ClientConfig(endpoints: [endpoint], terminal: .desktop, deviceID: "bench")
        let client = try await Client.open(config) { _ in token }
        client.connect()
        for await event in client.events {
            if event == .upToDate { return client }
            if case .stopped(_, _, let reason) = event { throw Unmeasurable("\(user) is stopped: \(reason)") }
        }
        throw Unmeasurable("the client of \(user) ended")
    }
}

struct Unmeasurable: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
