package im.sdk

import kotlin.time.Duration
import kotlin.time.toKotlinDuration

/** The configuration of a [Client]. Java makes one with [ClientConfig.builder]. */
public data class ClientConfig(
    /** The endpoints of the servers, best first: `quic://host:port`, `wss://host[:port][/path]`, `ws://host[:port][/path]`. */
    val endpoints: List<String>,
    /** The kind of device. */
    val terminal: Terminal,
    /** The device's name, the same over restarts: 1-64 printable ASCII characters without space, `{`, `}` and `/`. */
    val deviceId: String,
    /**
     * The file in which the device keeps its place in each log, its unsent messages and its numbers. Without one it forgets all
     * that when the process ends. One file belongs to one user.
     */
    val storePath: String? = null,
    /**
     * The user has just logged in on this device: it takes the place of other devices, as the login policy of the servers says. A device
     * whose store knows a user goes on with its login otherwise.
     */
    val isNewLogin: Boolean = false,
    /** Tells new endpoints when none of the known ones could be reached. */
    val endpointProvider: EndpointProvider? = null,
    /** The certificates to trust. */
    val trust: Trust = Trust.WebPki,
    /** The limit of [Client.sendAndWait], waiting for a connection included. `null`: 30 s. */
    val publishTimeout: Duration? = null,
    /** The limit of every request to the back end, waiting for a connection included. `null`: 15 s. */
    val requestTimeout: Duration? = null,
    /** The limit of one endpoint until its transport is established. `null`: 10 s. */
    val connectTimeout: Duration? = null,
    /** About how often the device checks that it has missed nothing, beside the checks that have a reason. `null`: 5 min. */
    val cursorCheck: Duration? = null,
    /** The name and version of the application, for the operator's eyes. */
    val clientName: String? = null,
) {
    /** Builds a [ClientConfig] in Java. */
    public class Builder internal constructor(private var config: ClientConfig) {
        /** Sets [ClientConfig.storePath]. */
        public fun storePath(path: String): Builder = set { copy(storePath = path) }

        /** Sets [ClientConfig.isNewLogin]. */
        public fun isNewLogin(isNewLogin: Boolean): Builder = set { copy(isNewLogin = isNewLogin) }

        /** Sets [ClientConfig.endpointProvider]. */
        public fun endpointProvider(provider: EndpointProvider): Builder = set { copy(endpointProvider = provider) }

        /** Sets [ClientConfig.trust]. */
        public fun trust(trust: Trust): Builder = set { copy(trust = trust) }

        /** Sets [ClientConfig.publishTimeout]. */
        public fun publishTimeout(limit: java.time.Duration): Builder =
            set { copy(publishTimeout = limit.toKotlinDuration()) }

        /** Sets [ClientConfig.requestTimeout]. */
        public fun requestTimeout(limit: java.time.Duration): Builder =
            set { copy(requestTimeout = limit.toKotlinDuration()) }

        /** Sets [ClientConfig.connectTimeout]. */
        public fun connectTimeout(limit: java.time.Duration): Builder =
            set { copy(connectTimeout = limit.toKotlinDuration()) }

        /** Sets [ClientConfig.cursorCheck]. */
        public fun cursorCheck(interval: java.time.Duration): Builder =
            set { copy(cursorCheck = interval.toKotlinDuration()) }

        /** Sets [ClientConfig.clientName]. */
        public fun clientName(name: String): Builder = set { copy(clientName = name) }

        /** Returns the configuration. */
        public fun build(): ClientConfig = config

        private inline fun set(change: ClientConfig.() -> ClientConfig): Builder = apply { config = config.change() }
    }

    public companion object {
        /** Begins a configuration with what every client needs. */
        @JvmStatic
        public fun builder(endpoints: List<String>, terminal: Terminal, deviceId: String): Builder =
            Builder(ClientConfig(endpoints, terminal, deviceId))
    }
}

/** The kinds of devices. The login policy of the servers tells devices apart by it. */
public enum class Terminal {
    /** A browser. */
    WEB,

    /** An Android phone or tablet. */
    ANDROID,

    /** An iPhone or iPad. */
    IOS,

    /** A program on a PC. */
    DESKTOP,

    /** A mini program inside another application. */
    MINI_PROGRAM,

    /** Anything else. */
    OTHER,
}

/** The server certificates to trust. */
public sealed interface Trust {
    /** Certificates of the authorities that browsers trust. */
    public data object WebPki : Trust

    /** Certificates of those authorities, and of the ones in a PEM text. */
    public data class Pem(
        /** The text. */
        val text: String,
    ) : Trust

    /** The one certificate with this SHA-256 fingerprint, for development servers. */
    public data class CertificateSha256(
        /** The fingerprint in 64 hexadecimal digits. */
        val hex: String,
    ) : Trust
}
