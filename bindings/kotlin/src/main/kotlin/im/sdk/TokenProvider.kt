package im.sdk

import kotlinx.coroutines.runBlocking

/** Gives the client a token for each connection. */
public fun interface TokenProvider {
    /**
     * Returns a JSON Web Token whose `sub` is the user.
     *
     * It is called on a thread that may block, one call at a time, and should give up after some seconds.
     *
     * @throws TokenException says whether asking again later makes sense
     */
    @Throws(TokenException::class)
    public fun token(request: TokenRequest): String

    public companion object {
        /** Makes a provider that suspends. */
        @JvmSynthetic
        public fun suspending(token: suspend (TokenRequest) -> String): TokenProvider =
            TokenProvider { request -> runBlocking { token(request) } }
    }
}

/** Gives the client the endpoints of the servers that there are now. */
public fun interface EndpointProvider {
    /**
     * Returns endpoints, best first; none: the client goes on with those that it knows, as it does after an exception.
     *
     * It is called like [TokenProvider.token], before the next token, when none of the known endpoints could be reached.
     */
    @Throws(Exception::class)
    public fun endpoints(): List<String>
}

/** The reasons for which the client asks for a token. */
public sealed interface TokenRequest {
    /** The first connection of a login. */
    public data object First : TokenRequest

    /** The first connection of an application that was opened again. It takes its place from no other device. */
    public data object Reopened : TokenRequest

    /** A later connection. The last token will do as long as it is valid. */
    public data object Reconnect : TokenRequest

    /** A server refused the last token. Only another one helps. */
    public data class Rejected(
        /** The close code. */
        val code: Int,
        /** The reason, for logs. */
        val reason: String,
    ) : TokenRequest
}
