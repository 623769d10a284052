/// The configuration of a ``Client``.
public struct ClientConfig: Sendable {
    /// The endpoints of the servers, best first: `quic://host:port`, `wss://host[:port][/path]`, `ws://host[:port][/path]`.
    public var endpoints: [String]
    /// The kind of device.
    public var terminal: Terminal
    /// The device's name, the same over restarts: 1-64 printable ASCII characters without space, `{`, `}` and `/`.
    public var deviceID: String
    /// The file in which the device keeps its place in each log, its unsent messages and its numbers. Without one it forgets all that
    /// when the process ends. One file belongs to one user.
    public var storePath: String?
    /// The certificates to trust.
    public var trust: Trust
    /// The limit of ``Client/sendAndWait(_:to:within:)-(Content,_,_)``, waiting for a connection included. `nil`: 30 s.
    public var publishTimeout: Duration?
    /// The limit of every request to the back end, waiting for a connection included. `nil`: 15 s.
    public var requestTimeout: Duration?
    /// The limit of one endpoint until its transport is established. `nil`: 10 s.
    public var connectTimeout: Duration?
    /// About how often the device checks that it has missed nothing, beside the checks that have a reason. `nil`: 5 min.
    public var cursorCheck: Duration?
    /// The name and version of the application, for the operator's eyes.
    public var clientName: String?
    /// The user has just logged in on this device: it takes the place of other devices, as the login policy says. A device with a store
    /// that knows a user goes on with its login otherwise.
    public var isNewLogin: Bool
    /// Tells new endpoints when none of the known ones could be reached.
    public var endpointProvider: (any EndpointProvider)?

    /// Makes a configuration.
    public init(
        endpoints: [String], terminal: Terminal, deviceID: String, storePath: String? = nil, trust: Trust = .webPKI,
        publishTimeout: Duration? = nil, requestTimeout: Duration? = nil, connectTimeout: Duration? = nil,
        cursorCheck: Duration? = nil, clientName: String? = nil, isNewLogin: Bool = false,
        endpointProvider: (any EndpointProvider)? = nil
    ) {
        self.endpoints = endpoints
        self.terminal = terminal
        self.deviceID = deviceID
        self.storePath = storePath
        self.trust = trust
        self.publishTimeout = publishTimeout
        self.requestTimeout = requestTimeout
        self.connectTimeout = connectTimeout
        self.cursorCheck = cursorCheck
        self.clientName = clientName
        self.isNewLogin = isNewLogin
        self.endpointProvider = endpointProvider
    }
}

/// The kinds of devices. The login policy of the servers tells devices apart by it.
public enum Terminal: Hashable, Sendable {
    /// A browser.
    case web
    /// An Android phone or tablet.
    case android
    /// An iPhone or iPad.
    case ios
    /// A program on a PC.
    case desktop
    /// A mini program inside another application.
    case miniProgram
    /// Anything else.
    case other
}

/// The server certificates to trust.
public enum Trust: Hashable, Sendable {
    /// Certificates of the authorities that browsers trust.
    case webPKI
    /// Certificates of those authorities, and of the ones in a PEM text.
    case pem(String)
    /// The one certificate with this SHA-256 fingerprint, in 64 hexadecimal digits, for development servers.
    case certificateSHA256(String)
}
