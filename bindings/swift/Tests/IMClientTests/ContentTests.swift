import Foundation
import Testing

@testable import IMClient

struct ContentTests {
    private let media = Media(
        url: "https://example.com/a", mimeType: "image/png", bytes: 42, sha256: Data(0..<32), name: "a.png"
    )

    @Test func everyKindOfContentTravels() throws {
        let entry = ForwardedEntry(
            fromUser: "bob", name: "Bob", sentAt: Date(timeIntervalSince1970: 1), content: Content(.text("hi"))
        )
        let bodies: [Body] = [
            .text("hello"),
            .image(Image(media, width: 640, height: 480, thumbnail: Media(url: "https://example.com/s"), caption: "c")),
            .file(File(media, caption: "caption")),
            .voice(Voice(media, duration: .milliseconds(1500), waveform: Data([1, 2, 3]))),
            .video(Video(media, duration: .seconds(2), width: 640, height: 480, thumbnail: media, caption: "caption")),
            .location(Location(latitudeE7: 525_000_000, longitudeE7: -134_000_000, name: "name", address: "address")),
            .card(Card(kind: "user", id: "bob", title: "Bob", text: "text", url: "https://example.com", image: media)),
            .forwarded(title: "title", entries: [entry]),
            .notice(kind: "joined", text: "bob has joined", parameters: ["user": "bob"]),
            .change(messageID: 7, kind: .recall),
            .change(messageID: 7, kind: .edit(Content(.text("better"))), channel: "team"),
            .change(messageID: 7, kind: .deleteForMe),
            .change(messageID: 7, kind: .reaction("👍", isRemoved: true)),
            .change(messageID: 7, kind: .pin()),
            .custom(kind: "order.paid", data: Data("data".utf8)),
        ]
        for body in bodies {
            let content = Content(
                body, mentions: ["alice", "bob"], mentionsEverybody: true,
                quote: Quote(messageID: 5, fromUser: "bob", kind: "text", excerpt: "excerpt", seq: 3), thread: 9,
                isSilent: true
            )
            #expect(try Content(decoding: content.encoded()) == content)
        }
    }

    @Test func fieldsOfANewerVersionAreKept() throws {
        // Field 2000 of the protocol's content, a number.
        let newer = try Content(.text("hello")).encoded() + Data([0x80, 0x7d, 1])
        var decoded = try Content(decoding: newer)
        #expect(decoded.text == "hello")
        #expect(try decoded.encoded() == newer)
        decoded.mentions = []
        #expect(try decoded.encoded() == newer)
        #expect(decoded != Content(.text("hello")))
    }

    @Test func whatIsNoContentIsTold() throws {
        #expect(throws: InvalidContentError.self) { try Content(decoding: Data([0xff, 0xff, 0xff])) }
        #expect(throws: InvalidContentError.self) { try Content(.text("hi"), mentions: ["a b/{"]).encoded() }
    }

    @Test func timesAndDurationsAreCountedInMilliseconds() {
        #expect(Date(unixMilliseconds: 1_700_000_000_123).unixMilliseconds == 1_700_000_000_123)
        #expect(Date.distantPast.unixMilliseconds == 0)
        #expect(Date(timeIntervalSince1970: .infinity).unixMilliseconds == .max)
        #expect(Duration.milliseconds(1500).wholeMilliseconds == 1500)
        #expect(Duration.seconds(-1).wholeMilliseconds == 0)
        #expect(Duration.seconds(Int64.max).wholeMilliseconds == .max)
        #expect(Duration(wholeMilliseconds: .max) == .milliseconds(Int64.max))
    }

    @Test func theHashOfTheTestsIsRight() {
        let hex = { (bytes: [UInt8]) in bytes.map { String(format: "%02x", $0) }.joined() }
        #expect(hex(sha256(Array("abc".utf8))) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }
}
