import Testing

@testable import IMClient

struct EventQueueTests {
    private func numbered(_ number: Int) -> Event {
        .published(localID: UInt64(number), Published(messageID: nil, answer: .init()))
    }

    private func numbers(_ events: [Event]?) -> [Int]? {
        events?.compactMap { if case .published(let number, _) = $0 { Int(number) } else { nil } }
    }

    @Test func takersThatAreCancelledAtAnyTimeLoseAndRepeatNothing() async {
        let queue = EventQueue(capacity: 8)
        let total = 20_000
        let filler = Task {
            for number in 0..<total {
                await queue.awaitRoom()
                queue.put([numbered(number)])
            }
            queue.end()
        }
        var taken: [Event] = []
        var round = 0
        while taken.count < total {
            let taker = Task {
                var events: [Event] = []
                for await event in EventSequence(queue: queue) { events.append(event) }
                return events
            }
            // Another thread cancels it wherever it is.
            for _ in 0..<round % 50 { await Task.yield() }
            round += 1
            taker.cancel()
            taken += await taker.value
        }
        await filler.value
        #expect(numbers(taken) == Array(0..<total))
        #expect(await queue.take(1) == [], "it has ended")
    }

    @Test func aFullQueueMakesItsFillerWaitUntilItIsLifted() async {
        let queue = EventQueue(capacity: 2)
        queue.put((0..<3).map(numbered))
        let hasRoom = Watched(false)
        let filler = Task {
            await queue.awaitRoom()
            hasRoom.change { $0 = true }
        }
        #expect(numbers(await queue.take(1)) == [0])
        for _ in 0..<100 { await Task.yield() }
        #expect(!hasRoom.read { $0 }, "two are as many as it holds")
        #expect(numbers(await queue.take(1)) == [1])
        await filler.value
        queue.put((0..<3).map(numbered))
        queue.lift()
        await queue.awaitRoom()
        #expect(numbers(await queue.take(10)) == [2, 0, 1, 2])
    }

    @Test func onlyTheFirstOneFillsTheQueue() {
        let queue = EventQueue(capacity: 2)
        #expect(queue.claimFilling())
        #expect(!queue.claimFilling())
    }

    @Test func aTaskThatWaitsAndIsCancelledEnds() async {
        let queue = EventQueue(capacity: 2)
        let taker = Task { await queue.take(1) }
        await Task.yield()
        taker.cancel()
        #expect(await taker.value == nil)
        queue.put([numbered(7)])
        #expect(numbers(await queue.take(1)) == [7])
    }
}
