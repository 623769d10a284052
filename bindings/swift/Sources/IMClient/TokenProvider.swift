/// Gives the client a token for each connection.
public protocol TokenProvider: Sendable {
    /// Returns a JSON Web Token whose `sub` is the user.
    ///
    /// It is called once at a time, and should give up after some seconds. A ``TokenError`` says whether asking again later makes
    /// sense; any other error counts as ``TokenError/unavailable(_:)``.
    func token(for request: TokenRequest) async throws -> String
}

/// Gives the client the endpoints of the servers that there are now.
public protocol EndpointProvider: Sendable {
    /// Returns endpoints, best first. With none, invalid ones or an error the client goes on with those that it knows.
    ///
    /// It is called before the next token, when none of the known endpoints could be reached, and should give up after some seconds.
    func endpoints() async throws -> [String]
}

/// The reasons for which the client asks for a token.
public enum TokenRequest: Hashable, Sendable {
    /// The first connection of a login.
    case first
    /// The first connection of an application that was opened again. It takes its place from no other device.
    case reopened
    /// A later connection. The last token will do as long as it is valid.
    case reconnect
    /// A server refused the last token, with this close code and reason. Only another one helps.
    case rejected(code: UInt16, reason: String)
}

/// A provider that is a closure.
struct ClosureTokens: TokenProvider {
    let closure: @Sendable (TokenRequest) async throws -> String

    func token(for request: TokenRequest) async throws -> String {
        try await closure(request)
    }
}
