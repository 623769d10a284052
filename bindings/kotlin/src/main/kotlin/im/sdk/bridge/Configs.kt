package im.sdk.bridge

import im.sdk.ClientConfig
import im.sdk.EndpointProvider
import im.sdk.Terminal
import im.sdk.TokenException
import im.sdk.TokenProvider
import im.sdk.TokenRequest
import im.sdk.Trust
import im.sdk.ffi.ClientConfig as FfiClientConfig
import im.sdk.ffi.EndpointProvider as FfiEndpointProvider
import im.sdk.ffi.Terminal as FfiTerminal
import im.sdk.ffi.TokenException as FfiTokenException
import im.sdk.ffi.TokenProvider as FfiTokenProvider
import im.sdk.ffi.TokenRequest as FfiTokenRequest
import im.sdk.ffi.Trust as FfiTrust
import kotlin.time.Duration

internal fun ClientConfig.toFfi(): FfiClientConfig =
    FfiClientConfig(
        endpoints = endpoints,
        terminal = terminal.toFfi(),
        deviceId = deviceId,
        trust = trust.toFfi(),
        storePath = storePath,
        newLogin = isNewLogin,
        endpointProvider = endpointProvider?.let(::BridgedEndpoints),
        publishTimeoutMs = publishTimeout?.toMillis(),
        requestTimeoutMs = requestTimeout?.toMillis(),
        cursorCheckMs = cursorCheck?.toMillis(),
        connectTimeoutMs = connectTimeout?.toMillis(),
        clientName = clientName,
    )

internal fun Duration.toMillis(): ULong = inWholeMilliseconds.coerceAtLeast(0).toULong()

private fun Terminal.toFfi(): FfiTerminal =
    when (this) {
        Terminal.WEB -> FfiTerminal.WEB
        Terminal.ANDROID -> FfiTerminal.ANDROID
        Terminal.IOS -> FfiTerminal.IOS
        Terminal.DESKTOP -> FfiTerminal.DESKTOP
        Terminal.MINI_PROGRAM -> FfiTerminal.MINI_PROGRAM
        Terminal.OTHER -> FfiTerminal.OTHER
    }

internal fun FfiTerminal.toPublic(): Terminal =
    when (this) {
        FfiTerminal.WEB -> Terminal.WEB
        FfiTerminal.ANDROID -> Terminal.ANDROID
        FfiTerminal.IOS -> Terminal.IOS
        FfiTerminal.DESKTOP -> Terminal.DESKTOP
        FfiTerminal.MINI_PROGRAM -> Terminal.MINI_PROGRAM
        FfiTerminal.OTHER -> Terminal.OTHER
    }

private fun Trust.toFfi(): FfiTrust =
    when (this) {
        Trust.WebPki -> FfiTrust.WebPki
        is Trust.Pem -> FfiTrust.Pem(text)
        is Trust.CertificateSha256 -> FfiTrust.CertificateSha256(hex)
    }

/** A provider of the application, as the bridge calls it. */
internal class BridgedTokens(private val tokens: TokenProvider) : FfiTokenProvider {
    override fun token(why: FfiTokenRequest): String =
        try {
            tokens.token(why.toPublic())
        } catch (failure: TokenException) {
            throw failure.toFfi()
        } catch (failure: Exception) {
            throw FfiTokenException.Unavailable(failure.toString())
        }
}

/** A provider of the application, as the bridge calls it. */
private class BridgedEndpoints(private val provider: EndpointProvider) : FfiEndpointProvider {
    override fun endpoints(): List<String> =
        try {
            provider.endpoints()
        } catch (failure: Exception) {
            throw FfiTokenException.Unavailable(failure.toString())
        }
}

private fun FfiTokenRequest.toPublic(): TokenRequest =
    when (this) {
        is FfiTokenRequest.First -> TokenRequest.First
        is FfiTokenRequest.Reopened -> TokenRequest.Reopened
        is FfiTokenRequest.Reconnect -> TokenRequest.Reconnect
        is FfiTokenRequest.Rejected -> TokenRequest.Rejected(code.toInt(), reason)
    }
