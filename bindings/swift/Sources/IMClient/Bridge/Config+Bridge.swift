import Foundation
internal import IMBridge

extension ClientConfig {
    var bridged: IMBridge.ClientConfig {
        IMBridge.ClientConfig(
            endpoints: endpoints, terminal: terminal.bridged, deviceId: deviceID, trust: trust.bridged,
            storePath: storePath, publishTimeoutMs: publishTimeout?.wholeMilliseconds,
            requestTimeoutMs: requestTimeout?.wholeMilliseconds, cursorCheckMs: cursorCheck?.wholeMilliseconds,
            connectTimeoutMs: connectTimeout?.wholeMilliseconds, clientName: clientName,
            newLogin: isNewLogin, endpointProvider: endpointProvider.map(BridgedEndpoints.init)
        )
    }
}

extension Trust {
    fileprivate var bridged: IMBridge.Trust {
        switch self {
        case .webPKI: .webPki
        case .pem(let text): .pem(text: text)
        case .certificateSHA256(let hex): .certificateSha256(hex: hex)
        }
    }
}

extension Terminal {
    init(_ terminal: IMBridge.Terminal) {
        self =
            switch terminal {
            case .web: .web
            case .android: .android
            case .ios: .ios
            case .desktop: .desktop
            case .miniProgram: .miniProgram
            case .other: .other
            }
    }

    fileprivate var bridged: IMBridge.Terminal {
        switch self {
        case .web: .web
        case .android: .android
        case .ios: .ios
        case .desktop: .desktop
        case .miniProgram: .miniProgram
        case .other: .other
        }
    }
}

/// The application's provider as the bridge calls it, on a thread that may block.
final class BridgedTokens: IMBridge.TokenProvider {
    private let tokens: any TokenProvider

    init(_ tokens: any TokenProvider) {
        self.tokens = tokens
    }

    func token(why: IMBridge.TokenRequest) throws -> String {
        try waiting { [tokens] in try await tokens.token(for: TokenRequest(why)) }
    }
}

/// The application's provider as the bridge calls it, on a thread that may block.
final class BridgedEndpoints: IMBridge.EndpointProvider {
    private let provider: any EndpointProvider

    init(_ provider: any EndpointProvider) {
        self.provider = provider
    }

    func endpoints() throws -> [String] {
        try waiting { [provider] in try await provider.endpoints() }
    }
}

/// Blocks this thread, which is none of Swift's tasks, until a task is done. Errors are those of the bridge.
private func waiting<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) throws -> T {
    let answer = Watched<Result<T, IMBridge.TokenError>>(.failure(.Unavailable(reason: "no answer")))
    let isAnswered = DispatchSemaphore(value: 0)
    Task.detached {
        let result: Result<T, IMBridge.TokenError>
        do {
            result = .success(try await body())
        } catch let error as TokenError {
            result = .failure(error.bridged)
        } catch {
            result = .failure(.Unavailable(reason: "\(error)"))
        }
        answer.change { $0 = result }
        isAnswered.signal()
    }
    isAnswered.wait()
    return try answer.read { $0 }.get()
}

extension TokenRequest {
    fileprivate init(_ request: IMBridge.TokenRequest) {
        self =
            switch request {
            case .first: .first
            case .reopened: .reopened
            case .reconnect: .reconnect
            case .rejected(let code, let reason): .rejected(code: code, reason: reason)
            }
    }
}
