/// Events on their way to the application. An event goes to one taker, and a taker that is cancelled takes none with it.
final class EventQueue: Sendable {
    private struct Contents {
        var events: [Event] = []
        /// Those before it are taken.
        var first = 0
        var capacity: Int
        var isFilled = false
        var isEnded = false

        var count: Int { events.count - first }

        mutating func take(_ max: Int) -> [Event] {
            let last = min(first + max, events.count)
            let batch = Array(events[first..<last])
            first = last
            if first == events.count {
                events.removeAll(keepingCapacity: true)
                first = 0
            }
            return batch
        }
    }

    private let contents: Watched<Contents>

    init(capacity: Int) {
        contents = Watched(Contents(capacity: capacity))
    }

    /// Returns `true` to the first caller, which is the one that fills the queue.
    func claimFilling() -> Bool {
        contents.change { contents in
            defer { contents.isFilled = true }
            return !contents.isFilled
        }
    }

    /// Waits until there is room. The one filler does so before it fetches more.
    func awaitRoom() async {
        _ = await contents.wait { $0.count < $0.capacity ? () : nil }
    }

    /// Adds events, however full the queue is.
    func put(_ batch: [Event]) {
        contents.change {
            $0.events.removeFirst($0.first)
            $0.first = 0
            $0.events.append(contentsOf: batch)
        }
    }

    /// Ends the queue behind the events that are in it.
    func end() {
        contents.change { $0.isEnded = true }
    }

    /// Takes whatever comes from here on.
    func lift() {
        contents.change { $0.capacity = .max }
    }

    /// Takes at least one event, waiting for it if need be, and at most `max`. Returns none only behind the end, and `nil` if the
    /// task is cancelled.
    func take(_ max: Int) async -> [Event]? {
        await contents.wait { contents -> [Event]? in
            if contents.count == 0 && !contents.isEnded { return nil }
            return contents.take(max)
        }
    }
}

/// The events of a client, in order. An event goes to one iteration: iterate in one task, and share from there.
///
/// The sequence ends when the client is closed and everything was taken, or when the task is cancelled. A task that is cancelled
/// takes no event with it: the next iteration goes on where it was.
public struct EventSequence: AsyncSequence, Sendable {
    public typealias Element = Event

    let queue: EventQueue

    public func makeAsyncIterator() -> Iterator {
        Iterator(queue: queue)
    }

    /// Takes events one by one.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        fileprivate let queue: EventQueue

        public mutating func next() async -> Event? {
            await queue.take(1)?.first
        }
    }
}

/// The states of a client, from the present one on. An iteration that is slow gets the last state and misses those between. It ends with
/// ``State/closed``, or when the task is cancelled.
public struct StateSequence: AsyncSequence, Sendable {
    public typealias Element = State

    let current: Watched<State>

    public func makeAsyncIterator() -> Iterator {
        Iterator(current: current)
    }

    /// Waits for one state after the other.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        fileprivate let current: Watched<State>
        private var known: State?

        fileprivate init(current: Watched<State>) {
            self.current = current
        }

        public mutating func next() async -> State? {
            guard known != .closed else { return nil }
            let last = known
            known = await current.wait { $0 == last ? nil : $0 }
            return known
        }
    }
}
