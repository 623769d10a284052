import Foundation
internal import IMBridge

/// The log of all clients of the process.
public enum Log {
    /// Sets where the log goes, from a level on; with `nil` it goes nowhere, which is how it begins. A sink must not call this. Returns
    /// `false` if another library in this process has taken the log of Rust code before.
    ///
    /// The sink is called on one thread, one record after the other, and may block.
    @discardableResult
    public static func setSink(from level: LogLevel, _ sink: (@Sendable (LogRecord) -> Void)?) -> Bool {
        setLogSink(level: level.bridged, sink: sink.map(BridgedSink.init))
    }
}

/// A record of the log. No token and no content of a message is in it.
public struct LogRecord: Hashable, Sendable {
    /// Its time.
    public let at: Date
    /// Its importance.
    public let level: LogLevel
    /// The part of the library that it comes from, such as `im_sdk::client`.
    public let target: String
    /// The message.
    public let message: String
    /// The fields of the message.
    public let fields: [String: String]
}

/// The levels of log records.
public enum LogLevel: Hashable, Sendable {
    /// Something has failed.
    case error
    /// Something is not as it should be, or costs more than it should.
    case warn
    /// The usual course of things.
    case info
    /// For developers of applications.
    case debug
    /// For developers of the SDK.
    case trace
}

private final class BridgedSink: IMBridge.LogSink {
    private let sink: @Sendable (LogRecord) -> Void

    init(_ sink: @escaping @Sendable (LogRecord) -> Void) {
        self.sink = sink
    }

    func log(record: IMBridge.LogRecord) {
        let at = Date(unixMilliseconds: record.unixMs)
        let level = LogLevel(record.level)
        sink(LogRecord(at: at, level: level, target: record.target, message: record.message, fields: record.fields))
    }
}

extension LogLevel {
    fileprivate init(_ level: IMBridge.LogLevel) {
        self =
            switch level {
            case .error: .error
            case .warn: .warn
            case .info: .info
            case .debug: .debug
            case .trace: .trace
            }
    }

    fileprivate var bridged: IMBridge.LogLevel {
        switch self {
        case .error: .error
        case .warn: .warn
        case .info: .info
        case .debug: .debug
        case .trace: .trace
        }
    }
}
