import Foundation

/// A value behind a lock, and callers that wait for it to change.
final class Watched<Value>: @unchecked Sendable {
    private typealias Waiters = [CheckedContinuation<Void, Never>]

    private let lock = NSLock()
    private var value: Value
    private var version: UInt64 = 0
    private var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    private var lastWaiter: UInt64 = 0

    init(_ value: Value) {
        self.value = value
    }

    /// Reads the value.
    func read<R>(_ body: (Value) -> R) -> R {
        lock.withLock { body(value) }
    }

    /// Changes the value, and lets all that wait look at it again.
    func change<R>(_ body: (inout Value) -> R) -> R {
        let (result, woken) = lock.withLock { (body(&value), takeWaiters()) }
        for waiter in woken { waiter.resume() }
        return result
    }

    /// Waits until `body` returns something, which may change the value by that. Returns `nil` if the task is cancelled: then `body`
    /// has changed nothing.
    func wait<R: Sendable>(_ body: @Sendable (inout Value) -> R?) async -> R? {
        while !Task.isCancelled {
            let (result, seen, woken) = attempt(body)
            for waiter in woken { waiter.resume() }
            if let result { return result }
            await changed(since: seen)
        }
        return nil
    }

    private func attempt<R>(_ body: (inout Value) -> R?) -> (R?, UInt64, Waiters) {
        lock.withLock {
            let result = body(&value)
            return (result, version, result == nil ? [] : takeWaiters())
        }
    }

    /// Under the lock. Those that it returns are to be resumed outside.
    private func takeWaiters() -> Waiters {
        version += 1
        guard !waiters.isEmpty else { return [] }
        defer { waiters = [:] }
        return Array(waiters.values)
    }

    /// Returns at once if the value has changed since, and when the task is cancelled.
    private func changed(since seen: UInt64) async {
        let waiter = lock.withLock {
            lastWaiter += 1
            return lastWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // A task that is cancelled says so before it comes to the handler below, which waits for the lock.
                let isLate = lock.withLock {
                    if version != seen || Task.isCancelled { return true }
                    waiters[waiter] = continuation
                    return false
                }
                if isLate { continuation.resume() }
            }
        } onCancel: {
            lock.withLock { waiters.removeValue(forKey: waiter) }?.resume()
        }
    }
}
