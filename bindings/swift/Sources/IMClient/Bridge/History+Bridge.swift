import Foundation
internal import IMBridge

extension HistoryRange {
    fileprivate init(_ range: IMBridge.HistoryRange) {
        self =
            switch range {
            case .newest: .newest
            case .before(let seq): .before(seq)
            case .after(let seq): .after(seq)
            }
    }

    var bridged: IMBridge.HistoryRange {
        switch self {
        case .newest: .newest
        case .before(let seq): .before(seq: seq)
        case .after(let seq): .after(seq: seq)
        }
    }
}

extension Kind {
    fileprivate var bridged: IMBridge.Kind {
        switch self {
        case .number(let number): .number(number: number)
        case .custom(let name): .custom(name: name)
        }
    }
}

extension HistoryQuery {
    var bridged: IMBridge.HistoryQuery {
        IMBridge.HistoryQuery(
            range: range.bridged, beforeMessage: beforeMessage, afterMessage: afterMessage,
            sinceMs: since?.unixMilliseconds, untilMs: until?.unixMilliseconds, kinds: kinds.map(\.bridged)
        )
    }
}

extension HistoryPage {
    init(_ page: IMBridge.HistoryPage) {
        self.init(
            messages: page.messages.map(ReceivedMessage.init), changes: page.changes.map(ReceivedMessage.init),
            next: page.next.map(HistoryRange.init)
        )
    }
}

extension Search {
    var bridged: IMBridge.Search {
        IMBridge.Search(
            text: text, conversation: conversation?.bridged, kinds: kinds.map(\.bridged), from: fromUser,
            sinceMs: since?.unixMilliseconds, untilMs: until?.unixMilliseconds, before: before?.bridged
        )
    }
}

extension SearchPlace {
    fileprivate init(_ place: IMBridge.SearchPlace) {
        self.init(channel: place.channel, messageID: place.messageId)
    }

    fileprivate var bridged: IMBridge.SearchPlace {
        IMBridge.SearchPlace(channel: channel, messageId: messageID)
    }
}

extension FoundPage {
    init(_ page: IMBridge.FoundPage) {
        self.init(messages: page.messages.map(ReceivedMessage.init), next: page.next.map(SearchPlace.init))
    }
}
