/// The client's news, in the order in which they happened.
public enum Event: Hashable, Sendable {
    /// A server has welcomed the device, the one of the user that the token names: messages flow from here on.
    case connected(user: String, transport: Transport, endpoint: String)
    /// The connection ended, or an attempt to make one failed. `code` is the close code, `nil` after a network error; `retryIn` the
    /// time until the next attempt, `nil` if the application itself disconnected.
    case disconnected(code: UInt16?, reason: String, retryIn: Duration?)
    /// A message came.
    case message(ReceivedMessage)
    /// Everything that was in the logs when the connection began has come. Once for each connection.
    case upToDate
    /// A log goes on elsewhere: what the application has of it does not lead on to what comes next. The next entry is the one after
    /// this position.
    case reset(Position, reason: ResetReason)
    /// Something was set in conversations, or the other user has read further. Each state is complete, and replaces an earlier one
    /// with a lower version.
    case conversationsChanged([ConversationState])
    /// A member has read further in a channel of few members. The event may get lost.
    case channelRead(ReadReceipt)
    /// Another device signalled something.
    case signal(ReceivedSignal)
    /// The presence of a user that the device watches has changed.
    case presence(UserPresence)
    /// The device is not in a room any more, and did not ask for that. `ruleCode` is the application's own code, where a handler of
    /// its refused to let the device in again; otherwise 0.
    case roomLeft(channel: String, cause: RoomLeftCause, reason: String, ruleCode: Int)
    /// The back end has taken the send with this ``SendHandle/localID``.
    case published(localID: UInt64, Published)
    /// The send with this ``SendHandle/localID`` failed for good. It stays among the unsettled ones until it is discarded or retried.
    case publishFailed(localID: UInt64, SendFailure)
    /// The client stays away until ``Client/connect()``. `code` is the close code, `nil` if no server was the reason. `cause` is the
    /// cause for programs: `server`, `token`, `other_user`, `failed`, or of the store `store_in_use`, `store_unreadable`,
    /// `store_damaged`, `store_full` or `store_failed`.
    case stopped(code: UInt16?, cause: String, reason: String)
    /// An event that this version does not know.
    case unknown
}

/// The states of a client.
public enum State: Hashable, Sendable {
    /// The application has not asked for a connection.
    case disconnected
    /// A connection is being made.
    case connecting
    /// A server has welcomed the device.
    case connected
    /// The next attempt follows after a delay.
    case waiting
    /// The client stays away: see ``Event/stopped(code:cause:reason:)``.
    case stopped
    /// The client is closed for good.
    case closed
}

/// The reasons why a log goes on elsewhere.
public enum ResetReason: Hashable, Sendable {
    /// The device did not follow the log before.
    case new
    /// The log does not reach back to what the device has.
    case trimmed
    /// The log was rolled back.
    case forked
    /// The user is not a member of the channel any more. The device has stopped following the log.
    case left
}
