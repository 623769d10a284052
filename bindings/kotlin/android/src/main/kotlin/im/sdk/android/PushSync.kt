package im.sdk.android

import im.sdk.Client
import im.sdk.State
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.withTimeoutOrNull

/**
 * Brings a client up to date when a push notification has woken the process, as in `FirebaseMessagingService.onMessageReceived`.
 *
 * ```kotlin
 * override fun onMessageReceived(message: RemoteMessage) = runBlocking {
 *     PushSync.run(client) // the application's own collector shows what comes
 * }
 * ```
 */
public object PushSync {
    /**
     * Connects, and waits until everything has come that was there. Returns `false` if the client has stopped, or did not get there
     * [within] the time that Android allows. Somebody has to take the client's events meanwhile.
     *
     * A process that is not in the foreground calls [Client.enteredBackground] afterwards.
     */
    public suspend fun run(client: Client, within: Duration = LIMIT): Boolean {
        client.enteredForeground()
        client.connect()
        val outcome = withTimeoutOrNull(within) {
            combine(client.isUpToDate, client.state) { isUpToDate, state ->
                if (state == State.STOPPED || state == State.CLOSED) false else true.takeIf { isUpToDate }
            }.first { it != null }
        }
        return outcome == true
    }

    /** A high-priority message leaves about ten seconds. */
    private val LIMIT = 9.seconds
}
