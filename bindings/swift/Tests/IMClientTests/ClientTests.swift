import Foundation
import IMClient
import Testing

struct ClientTests {
    let server: TestServer

    init() async throws {
        server = try await TestServer.shared.value
    }

    @Test func aMessageReachesTheOtherUserAndTheSendersOwnLogOnceEach() async throws {
        let alice = try await connect("alice")
        let bob = try await connect("bob")
        let sent = try await alice.send("hello", to: .user("bob"))
        let published = try await sent.outcomeInTime()
        let own = try await alice.message("hello")
        #expect(own.id == published.messageID)
        #expect(own.localID == sent.localID)
        let message = try await bob.message("hello")
        #expect(message.fromUser == "alice")
        #expect(message.localID == nil, "for others it is not known")
        #expect(abs(message.sentAt.timeIntervalSinceNow) < 60)
        bob.ack(try #require(message.position))
    }

    @Test func theStateIsToldAsItChanges() async throws {
        let client = try await open("carol")
        #expect(client.state == .disconnected)
        let seen = Task {
            var states: [State] = []
            for await state in client.states {
                states.append(state)
                if state == .disconnected && states.count == 1 { client.connect() }
                if state == .connected { client.disconnect() }
                if state == .disconnected && states.count > 1 { await client.shutdown() }
            }
            return states
        }
        let states = try await patient { await seen.value }
        #expect(states.first == .disconnected)
        #expect(states.contains(.connected))
        #expect(states.last == .closed)
        #expect(client.transport == nil)
        await #expect { try await client.send("late", to: .user("bob")) } throws: { code($0) == .closed }
        await #expect { try await client.history(.inbox) } throws: { code($0) == .closed }
        try await patient { for await _ in client.events {} }
        #expect(try await client.nextEvents() == [])
    }

    @Test func iterationsThatAreCancelledLoseAndRepeatNothing() async throws {
        let dave = try await connect("dave")
        let taking = takeEverything(of: dave)
        defer { taking.cancel() }
        let erin = try await connect("erin")
        let texts = (0..<500).map { "m\($0)" }
        var sent: [SendHandle] = []
        for text in texts { sent.append(try await dave.send(text, to: .user("erin"))) }
        for handle in sent { try await handle.outcomeInTime() }
        var came: [String] = []
        let end = ContinuousClock.now + patience
        while came.count < texts.count && ContinuousClock.now < end {
            let taker = Task {
                var texts: [String] = []
                for await event in erin.events {
                    if case .message(let message) = event, let text = message.text { texts.append(text) }
                }
                return texts
            }
            for _ in 0..<came.count % 20 { await Task.yield() }
            taker.cancel()
            came += await taker.value
        }
        #expect(came == texts)
    }

    @Test func aTaskThatWaitsForEventsCanBeCancelled() async throws {
        let client = try await open("quentin")
        let waiting = Task { try await client.nextEvents() }
        await Task.yield()
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
    }

    @Test func aClientWhoseEventsNobodyTakesAnswersAgainWhenSomebodyDoes() async throws {
        let frank = try await connect("frank")
        let grace = try await connect("grace")
        let taking = takeEverything(of: grace)
        defer { taking.cancel() }
        var sent: [SendHandle] = []
        for number in 0..<1000 { sent.append(try await grace.send("m\(number)", to: .user("frank"))) }
        for handle in sent { try await handle.outcomeInTime() }
        #expect(frank.state == .connected)
        let texts = try await patient {
            var texts: [String?] = []
            while texts.count < 1000 {
                for event in try await frank.nextEvents(max: 100) {
                    if case .message(let message) = event { texts.append(message.text) }
                }
            }
            return texts
        }
        #expect(texts == (0..<1000).map { "m\($0)" })
        let last = try await grace.sendAndWait("last", to: .user("frank"))
        #expect(try await frank.message("last").id == last.messageID)
    }

    @Test func aRefusalHasItsCodeAndReasonAndStaysUntilItIsDiscarded() async throws {
        let heidi = try await connect("heidi")
        let to = Recipient.channel("not-a-member")
        let sent = try await heidi.send("let me in", to: to)
        let refused = try await failure(of: PublishError.self) { try await sent.outcomeInTime() }
        #expect(refused.code == .refused)
        #expect(refused.refusal?.kind == .rule)
        #expect(refused.refusal?.ruleCode == -1)
        #expect(!refused.isRetryable)
        #expect(refused.localizedDescription.hasPrefix("the message was refused: "))
        let unsettled = await heidi.unsettledSends()
        #expect(unsettled.map(\.handle) == [sent])
        #expect(unsettled.first?.to == to)
        #expect(unsettled.first?.content.text == "let me in")
        #expect(unsettled.first?.state == .failed)
        #expect(unsettled.first?.failure?.refusal == .rule)
        let again = try await sent.retry()
        #expect(again != sent)
        #expect(try await failure(of: PublishError.self) { try await again.outcomeInTime() }.code == .refused)
        #expect(await again.discard())
        #expect(await heidi.unsettledSends().isEmpty)
        let failed = try await heidi.first {
            if case .publishFailed(again.localID, let failure) = $0 { failure } else { nil }
        }
        #expect(failed.code == .refused)
        #expect(failed.refusal == .rule)
    }

    @Test func messagesAreChangedAndATimelineShowsThemSo() async throws {
        let ivan = try await connect("ivan")
        let judy = try await connect("judy")
        let id = try #require(try await ivan.sendAndWait("helo", to: .user("judy")).messageID)
        let reference = try #require(try await ivan.message("helo").reference(for: "ivan"))
        #expect(reference == MessageRef(conversation: .user("judy"), id: id, seq: reference.seq))
        try await ivan.edit(reference, Content(.text("hello"))).outcomeInTime()
        let came = try await judy.message("helo")
        let mine = try #require(came.reference(for: "judy"))
        #expect(try await judy.react(to: mine, with: "👍").outcomeInTime().messageID != nil)
        let timeline = try Timeline(for: "judy")
        try timeline.apply(came)
        try await judy.first { event -> Void? in
            guard case .message(let message) = event else { return nil }
            _ = try? timeline.apply(message)
            guard let shown = timeline[id], shown.isEdited else { return nil }
            return shown.reactions == [Reaction(emoji: "👍", users: ["judy"])] ? () : nil
        }
        #expect(timeline.messages.map(\.content?.text) == ["hello"])
        try await ivan.recall(reference).outcomeInTime()
        let fresh = try Timeline(for: "judy")
        try fresh.apply(try await judy.history(.user("ivan")))
        #expect(fresh[id]?.isRecalled == true)
        #expect(fresh[id]?.recalledBy == "ivan")
        let quote = try came.quote()
        #expect(quote.excerpt == "helo")
        #expect(quote.messageID == id)
        #expect(try came.forward().source?.messageID == id)
    }

    @Test func historyAndSearchFindWhatWasSaid() async throws {
        let kim = try await connect("kim")
        var ids: [UInt64] = []
        for number in 0..<5 {
            let published = try await kim.sendAndWait("searchable word\(number)", to: .user("leo"))
            ids.append(try #require(published.messageID))
        }
        let newest = try await kim.history(.user("leo"), limit: 2)
        #expect(newest.messages.map(\.id) == Array(ids.suffix(2)))
        let older = try await kim.history(.user("leo"), try #require(newest.next), limit: 3)
        #expect(older.messages.map(\.id) == Array(ids.prefix(3)))
        let query = HistoryQuery(beforeMessage: ids[2], kinds: [.number(1)])
        #expect(try await kim.history(.user("leo"), matching: query).messages.map(\.id) == Array(ids.prefix(2)))
        #expect(try await kim.rawHistory(.inbox, matching: HistoryQuery()).messages.map(\.id) == ids)
        let newestPosition = try #require(try await kim.message("searchable word4").position)
        #expect(try await kim.fill(newestPosition).messages.map(\.id) == ids)
        // Messages are archived soon, not at once.
        try await eventually("the message is found") {
            try await kim.search(Search("searchable word3")).messages.map(\.id) == [ids[3]]
        }
    }

    @Test func theListOfConversationsFollowsWithUnreadCountsAndDrafts() async throws {
        let mary = try await open("mary")
        let list = try mary.conversationList(for: "mary")
        #expect(list.needsLoading)
        mary.connect()
        try await mary.first { $0 == .upToDate ? () : nil }
        try await list.load()
        #expect(list.conversations.isEmpty)
        let taking = takeEverything(of: mary)
        defer { taking.cancel() }
        let nina = try await connect("nina")
        let text = try await nina.sendAndWait("are you there?", to: .user("mary"))
        let listed = try await list.first { $0.first?.unread == 1 }
        #expect(listed.last?.id == text.messageID)
        #expect(list.unread.count == 1)
        #expect(list.unread(at: Date()).count == 1)
        try await mary.setConversation(.user("nina"), ConversationChange(pinned: true, draft: "yes"))
        _ = try await list.first { $0.first?.state.draft == "yes" && $0.first?.state.isPinned == true }
        try await mary.markRead(.user("nina"), upTo: try #require(listed.last?.position))
        _ = try await list.first { $0.first?.unread == 0 }
        #expect(list[.user("nina")]?.state.draft == "yes")
        #expect(try await mary.conversations().conversations.map(\.state.draft) == ["yes"])
        let long = ConversationChange(draft: String(repeating: "x", count: 2000))
        await #expect {
            try await mary.setConversation(.user("nina"), long)
        } throws: { code($0) == .draftTooLong }
    }

    @Test func groupsSignalsAndPresence() async throws {
        let olga = try await connect("olga")
        let paul = try await connect("paul")
        let add = Content(.custom(kind: "cli-chat.group", data: Data("add swift-team paul".utf8)))
        let answer = try await olga.sendAndWait(add, to: .user("back-end")).answer
        #expect(String(decoding: answer, as: UTF8.self).contains("swift-team"))
        let id = try await olga.sendAndWait("hello, team", to: .channel("swift-team")).messageID
        let message = try await paul.message("hello, team")
        #expect(message.id == id)
        #expect(message.channel == "swift-team")
        let position = try #require(message.position)
        try await paul.markRead(.channel("swift-team"), upTo: position)
        try await eventually("paul has read it") {
            let readers = try await olga.readers(channel: "swift-team", seq: position.seq, limit: 10)
            return readers.count == 1 && readers.users == ["paul"]
        }
        #expect(await paul.signal(.typing(), to: .user("olga")))
        let typing = try await olga.first { if case .signal(let signal) = $0 { signal } else { nil } }
        #expect(typing.fromUser == "paul")
        #expect(typing.signal == .typing())
        let call = Signal.call(id: "call-1", step: .ring, data: Data("data".utf8))
        #expect(await olga.signal(call, toDevice: typing.device, of: "paul"))
        let ringing = try await paul.first { if case .signal(let signal) = $0 { signal } else { nil } }
        #expect(ringing.signal == call)
        #expect(try await olga.watch(["paul"]).map(\.isOnline) == [true])
        paul.disconnect()
        let presence = try await olga.first { if case .presence(let presence) = $0 { presence } else { nil } }
        #expect(!presence.isOnline)
    }

    @Test func aRoomIsJoinedTalksAndCountsAndIsLeft() async throws {
        let alma = try await connect("alma")
        let ben = try await connect("ben")
        let room = Recipient.channel("room-swift")
        let first = try await alma.joinRoom("room-swift", data: Data("please".utf8))
        #expect(first.online == 1)
        #expect(String(decoding: first.answer, as: UTF8.self) == "be kind")
        #expect(first.recent.isEmpty)
        await #expect { try await ben.sendAndWait("let me in", to: room) } throws: { code($0) == .refused }
        let question = try await alma.sendAndWait("is anybody here?", to: room).messageID
        let second = try await ben.joinRoom("room-swift")
        #expect(second.online == 2)
        #expect(second.recent.map(\.id) == [question])

        let answer = try await ben.sendAndWait("I am", to: room).messageID
        let message = try await alma.message("I am")
        #expect(message.id == answer)
        #expect(message.fromUser == "ben")
        #expect(message.channel == "room-swift")
        #expect(message.position == nil, "it is in no log that the device follows")
        for _ in 0..<3 { try await ben.sendAndWait(Content(.custom(kind: "cli-chat.like", data: Data())), to: room) }
        // They are summed up, as far as they come at the same time.
        var likes = 0
        while likes < 3 {
            likes += try await alma.first { event -> Int? in
                guard case .message(let message) = event,
                    case .custom("cli-chat.like", let sum) = message.content.body
                else { return nil }
                return Int(String(decoding: sum, as: UTF8.self))
            }
        }
        #expect(likes == 3)

        // A device is in the room again over the next connection, and gets what was said there.
        alma.disconnect()
        try await ben.sendAndWait("while you were away", to: room)
        alma.connect()
        #expect(try await alma.message("while you were away").channel == "room-swift")
        try await alma.leaveRoom("room-swift")
        await #expect { try await alma.sendAndWait("late", to: room) } throws: { code($0) == .refused }
        #expect(try await alma.joinRoom("room-swift").online == 2)
        try await ben.sendAndWait(Content(.custom(kind: "cli-chat.kick", data: Data("alma".utf8))), to: room)
        let left = try await alma.first { if case .roomLeft = $0 { $0 } else { nil } }
        let expected = Event.roomLeft(
            channel: "room-swift", cause: .kicked, reason: "ben has removed you", ruleCode: 0)
        #expect(left == expected)
        await #expect { try await alma.sendAndWait("late", to: room) } throws: { code($0) == .refused }
    }

    @Test func aRoomThatIsRefusedIsToldWithTheReason() async throws {
        let carl = try await connect("carl")
        let refused = try await failure(of: RequestError.self) { try await carl.joinRoom("cellar") }
        #expect(refused.code == .refused)
        #expect(refused.refusal?.ruleCode == 4)
        #expect(refused.refusal?.reason.contains("cellar is no room") == true)
    }

    @Test func tokensAreAskedForRefreshedAfterARejectionAndDenied() async throws {
        let tokens = SequenceOfTokens(server)
        let rita = try await Client.open(config("rita"), tokens: tokens)
        rita.connect()
        #expect(try await rita.disconnection().contains("no network"))
        // A retry comes at once when the application asks for it.
        rita.connect()
        #expect(try await rita.disconnection().contains("a bug of the application"))
        rita.connect()
        try await rita.connection("rita")
        #expect(await tokens.requests.first == .first)
        if case .rejected? = await tokens.requests.last {} else { Issue.record("it was not rejected") }

        let denied = try await Client.open(config("sam")) { _ in throw TokenError.denied("logged out") }
        denied.connect()
        let (cause, reason) = try await denied.first {
            if case .stopped(_, let cause, let reason) = $0 { (cause, reason) } else { nil }
        }
        #expect(cause == "token")
        #expect(reason.contains("logged out"))
        try await patient { for await state in denied.states where state == .stopped { break } }
        denied.setToken(try server.token("sam"))
        denied.connect()
        try await denied.connection("sam")
    }

    @Test func whatADeviceMissedComesAndWhatItSentOfflineLeavesWithTheNextProcess() async throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        var config = config("tina")
        config.storePath = folder.appendingPathComponent("tina.db").path
        let uma = try await connect("uma")
        let first = try await open("tina", config)
        first.connect()
        try await first.first { $0 == .upToDate ? () : nil }
        try await uma.sendAndWait("before", to: .user("tina"))
        first.ack(try #require(try await first.message("before").position))
        await #expect { [config] in _ = try await open("tina", config) } throws: { code($0) == .store }
        await first.shutdown()
        try await uma.sendAndWait("missed", to: .user("tina"))
        let offline = try await open("tina", config)
        let sent = try await offline.send("written offline", to: .user("uma"))
        #expect(await offline.unsettledSends().map(\.handle) == [sent])
        #expect(await offline.unsettledSends().map(\.state) == [.pending])
        await offline.shutdown()
        let again = try await open("tina", config)
        again.connect()
        var came: [ReceivedMessage] = []
        for _ in 0..<2 {
            came.append(try await again.first { if case .message(let message) = $0 { message } else { nil } })
        }
        #expect(Set(came.map(\.text)) == ["missed", "written offline"])
        #expect(came.first { $0.text == "written offline" }?.localID == sent.localID)
        #expect(try await uma.message("written offline").fromUser == "tina")
    }

    @Test func aDeviceGoesIntoTheBackgroundAndComesBack() async throws {
        let folder = try temporaryFolder()
        defer { try? FileManager.default.removeItem(at: folder) }
        var config = config("yves")
        config.storePath = folder.appendingPathComponent("yves.db").path
        let yves = try await open("yves", config)
        yves.connect()
        try await yves.first { $0 == .upToDate ? () : nil }
        #expect(await yves.enteredBackground(within: patience))
        #expect(yves.transport == nil)
        let zoe = try await connect("zoe")
        try await zoe.sendAndWait("while you were away", to: .user("yves"))
        yves.enteredForeground()
        #expect(try await yves.message("while you were away").fromUser == "zoe")
        yves.networkChanged()
        yves.memoryPressure()
        #expect(try await yves.sendAndWait("back", to: .user("zoe")).messageID != nil)
    }

    @Test func quicWorksWithAPinnedCertificateAndNotWithAnotherOne() async throws {
        var config = config("vera")
        config.endpoints = [server.quic]
        config.trust = .certificateSHA256(try server.fingerprint())
        let vera = try await open("vera", config)
        vera.connect()
        let endpoint = try await vera.first {
            if case .connected("vera", .quic, let endpoint) = $0 { endpoint } else { nil }
        }
        #expect(endpoint == server.quic)
        config.trust = .certificateSHA256(String(repeating: "0", count: 64))
        config.connectTimeout = .seconds(5)
        let other = try await open("vera", config)
        other.connect()
        _ = try await other.disconnection()
    }

    @Test func newEndpointsAreAskedForWhenNoneCanBeReached() async throws {
        var config = config("xena")
        config.endpoints = ["ws://127.0.0.1:1"]
        config.endpointProvider = FixedEndpoints(found: [server.webSocket])
        let xena = try await open("xena", config)
        xena.connect()
        try await xena.connection("xena")
    }

    @Test func aConfigurationThatCannotWorkIsTold() async throws {
        var configs = [config("x"), config("x"), config("x"), config("x")]
        configs[0].endpoints = []
        configs[1].endpoints = ["http://127.0.0.1"]
        configs[2].deviceID = "with space"
        configs[3].trust = .pem("not a certificate")
        var codes: [ErrorCode] = []
        for config in configs {
            codes.append(try await failure(of: OpenError.self) { _ = try await open("x", config) }.code)
        }
        #expect(codes == [.noEndpoints, .invalidConfig, .invalidConfig, .invalidConfig])
        let client = try await open("x")
        #expect { try client.setEndpoints([]) } throws: { code($0) == .noEndpoints }
        await #expect { try await client.send("hi", to: .user("a b/{")) } throws: { code($0) == .invalidID }
        await #expect { try await client.history(.inbox) } throws: { code($0) == .notConnected }
        #expect(await !client.signal(.typing(), to: .user("y")))
        let late = try await failure(of: PublishError.self) {
            try await client.sendAndWait("hi", to: .user("y"), within: .zero)
        }
        #expect([.notConnected, .timedOut].contains(late.code))
        #expect(late.isRetryable)
        #expect(throws: InvalidContentError.self) { try Timeline(for: "a b/{") }
    }

    @Test func aServerThatIsKilledCostsNothing() async throws {
        let own = try await TestServer()
        var clients: [Client] = []
        for user in ["wanda", "xaver"] {
            let config = ClientConfig(endpoints: [own.webSocket], terminal: .desktop, deviceID: "swift-\(user)")
            let client = try await Client.open(config) { _ in try own.token(user) }
            client.connect()
            try await client.first { $0 == .upToDate ? () : nil }
            clients.append(client)
        }
        let (wanda, xaver) = (clients[0], clients[1])
        try await wanda.sendAndWait("one", to: .user("xaver"))
        own.kill()
        _ = try await wanda.disconnection()
        let two = try await wanda.send("two", to: .user("xaver"))
        let three = try await wanda.send("three", to: .user("xaver"))
        try await own.start()
        for client in clients { client.connect() }
        try await two.outcomeInTime()
        try await three.outcomeInTime()
        var texts: [String?] = []
        for _ in 0..<3 {
            texts.append(try await xaver.first { if case .message(let message) = $0 { message.text } else { nil } })
        }
        #expect(texts == ["one", "two", "three"])
    }

    @Test func aClientThatIsLetGoEnds() async throws {
        let observer = try await connect("adam")
        var client: Client? = try await connect("eva")
        #expect(try await observer.watch(["eva"]).map(\.isOnline) == [true])
        #expect(client?.state == .connected)
        client = nil
        let presence = try await observer.first { if case .presence(let presence) = $0 { presence } else { nil } }
        #expect(!presence.isOnline)
    }

    @Test func theLogGoesToASink() async throws {
        let (records, sink) = AsyncStream.makeStream(of: LogRecord.self)
        #expect(Log.setSink(from: .debug) { sink.yield($0) })
        defer { Log.setSink(from: .error, nil) }
        let client = try await connect("lars")
        let record = try await patient {
            for await record in records where record.target.hasPrefix("im_sdk") { return record }
            throw Unexpected("the log has ended")
        }
        #expect(!record.message.isEmpty)
        #expect(abs(record.at.timeIntervalSinceNow) < 60)
        await client.shutdown()
    }

    private func config(_ user: String) -> ClientConfig {
        ClientConfig(endpoints: [server.webSocket], terminal: .desktop, deviceID: "swift-\(user)")
    }

    private func open(_ user: String, _ config: ClientConfig? = nil) async throws -> Client {
        try await Client.open(config ?? self.config(user)) { [server] _ in try server.token(user) }
    }

    /// Its answers come only while its events are taken.
    private func takeEverything(of client: Client) -> Task<Void, Never> {
        Task { for await _ in client.events {} }
    }

    private func connect(_ user: String) async throws -> Client {
        let client = try await open(user)
        client.connect()
        try await client.connection(user)
        try await client.first { $0 == .upToDate ? () : nil }
        return client
    }
}

extension Client {
    /// Takes events up to the first that fits.
    @discardableResult
    fileprivate func first<T: Sendable>(_ fits: @escaping @Sendable (Event) -> T?) async throws -> T {
        try await patient {
            for await event in self.events {
                if let result = fits(event) { return result }
            }
            throw Unexpected("the client is closed")
        }
    }

    fileprivate func message(_ text: String) async throws -> ReceivedMessage {
        try await first {
            if case .message(let message) = $0, message.text == text { message } else { nil }
        }
    }

    fileprivate func connection(_ user: String) async throws {
        try await first { if case .connected(user, _, _) = $0 { () } else { nil } }
    }

    fileprivate func disconnection() async throws -> String {
        try await first { if case .disconnected(_, let reason, _) = $0 { reason } else { nil } }
    }
}

extension SendHandle {
    /// Waits for the outcome, which a task that is cancelled does not stop doing.
    @discardableResult
    fileprivate func outcomeInTime() async throws -> Published {
        try await patient { try await self.outcome() }
    }
}

extension ConversationList {
    /// Waits until the list is so, and returns its only conversation.
    fileprivate func first(
        _ fits: @escaping @Sendable ([ListedConversation]) -> Bool
    ) async throws -> ListedConversation {
        try await patient {
            for await conversations in self.updates where fits(conversations) {
                return try #require(conversations.count == 1 ? conversations.first : nil)
            }
            throw Unexpected("the client is closed")
        }
    }
}

private func code(_ error: any Error) -> ErrorCode? { (error as? any IMError)?.code }

private func failure<E: Error, R>(of type: E.Type, _ body: () async throws -> R) async throws -> E {
    do {
        _ = try await body()
    } catch let error as E {
        return error
    }
    throw Unexpected("there was no \(type)")
}

/// None at first, a bug, one that has expired, and then good ones.
private actor SequenceOfTokens: TokenProvider {
    private let server: TestServer
    private(set) var requests: [TokenRequest] = []

    init(_ server: TestServer) {
        self.server = server
    }

    func token(for request: TokenRequest) throws -> String {
        requests.append(request)
        switch requests.count {
        case 1: throw TokenError.unavailable("no network")
        case 2: throw Unexpected("a bug of the application")
        case 3: return try server.token("rita", seconds: -100)
        default: return try server.token("rita")
        }
    }
}

private struct FixedEndpoints: EndpointProvider {
    let found: [String]

    func endpoints() -> [String] { found }
}
