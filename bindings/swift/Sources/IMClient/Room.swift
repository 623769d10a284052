import Foundation

/// A room that the device has joined.
public struct JoinedRoom: Hashable, Sendable {
    /// About how many devices are in the room.
    public let online: UInt64
    /// The application's own answer, often empty.
    public let answer: Data
    /// The last messages, in order, as far as the back end sends them.
    public let recent: [ReceivedMessage]
}

/// The causes for which a device is not in a room any more.
public enum RoomLeftCause: Hashable, Sendable {
    /// The back end has taken the user out.
    case kicked
    /// The room is closed.
    case closed
    /// The device came back over a new connection and was not let in again.
    case refused
    /// A cause that this version does not know.
    case unknown
}

/// Something for the moment, which is kept nowhere.
public enum Signal: Hashable, Sendable {
    /// The user is typing, or has stopped. Signal it again every few seconds.
    case typing(isStopped: Bool = false)
    /// One step of setting a call up or ending it. The id is the same for all steps of a call; the data is that of the devices' media
    /// libraries.
    case call(id: String, step: CallStep, data: Data = Data())
    /// A kind that the application defines: its name for the kind, and its bytes.
    case custom(kind: String, data: Data)
    /// A kind that this version does not know. It cannot be sent.
    case unknown
}

/// The steps of a call.
public enum CallStep: Hashable, Sendable {
    /// To all devices of a user: somebody calls.
    case ring
    /// The caller has given up.
    case cancel
    /// The user does not take the call.
    case busy
    /// The offer of the calling device.
    case offer
    /// The answer of the device that takes the call.
    case answer
    /// A way by which the devices may reach each other.
    case candidate
    /// The call is over.
    case hangup
    /// Another device of this user has answered, or has said that it is busy. Stop ringing.
    case answeredElsewhere
    /// A step that this version does not know.
    case unknown
}

/// A signal of another device.
public struct ReceivedSignal: Hashable, Sendable {
    /// The user whose device sent it.
    public let fromUser: String
    /// The device, such as `ios/4f1c`, for ``Client/signal(_:toDevice:of:)``.
    public let device: String
    /// The channel that it was sent to. `nil`: to this user.
    public let channel: String?
    /// The signal itself.
    public let signal: Signal
}

/// The presence of a user.
public struct UserPresence: Hashable, Sendable {
    /// The user.
    public let user: String
    /// The kinds of devices that are connected, or were.
    public let terminals: [TerminalPresence]

    /// At least one device is connected.
    public var isOnline: Bool { terminals.contains(where: \.isOnline) }
}

/// The presence of one kind of device of a user.
public struct TerminalPresence: Hashable, Sendable {
    /// The kind.
    public let terminal: Terminal
    /// At least one device of this kind is connected.
    public let isOnline: Bool
    /// When the last one was disconnected. `nil`: not known.
    public let lastSeen: Date?
}
