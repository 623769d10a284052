package im.sdk.android

import android.app.Activity
import android.app.Application
import android.content.ComponentCallbacks2
import android.content.Context
import android.net.ConnectivityManager
import im.sdk.Client
import im.sdk.ClientConfig
import im.sdk.Event
import im.sdk.Recipient
import im.sdk.State
import im.sdk.Terminal
import im.sdk.TestServer
import java.util.concurrent.ConcurrentLinkedQueue
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.After
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config

/** The glue on Android 15 as Robolectric has it, with the real client and a real server. */
@RunWith(RobolectricTestRunner::class)
@Config(manifest = Config.NONE, sdk = [35])
class AndroidTest {
    private val application: Application = RuntimeEnvironment.getApplication()
    private val connectivity = application.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager
    private val server = TestServer.open()
    private val scope = CoroutineScope(Dispatchers.Default)
    private val events = ConcurrentLinkedQueue<Event>()
    private lateinit var client: Client
    private lateinit var lifecycle: AndroidLifecycle

    @Before
    fun open() = runBlocking {
        val store = application.filesDir.resolve("im.db").path
        val config = ClientConfig(listOf(server.webSocket), Terminal.ANDROID, "phone", storePath = store)
        client = Client.open(config) { server.token("alice") }
        scope.launch { client.events.collect { events += it } }
        lifecycle = AndroidLifecycle.attach(application, client)
        client.connect()
        awaitState(State.CONNECTED)
    }

    @After
    fun close() {
        lifecycle.close()
        client.close()
        scope.cancel()
        server.close()
    }

    @Test
    fun `the client follows the application into the background and back`() = runBlocking {
        val first = Robolectric.buildActivity(Activity::class.java).setup()
        val second = Robolectric.buildActivity(Activity::class.java).setup()
        first.pause().stop()
        assertEquals(State.CONNECTED, client.state.value, "one activity is still visible")
        second.pause().stop()
        awaitState(State.DISCONNECTED)
        second.start().resume()
        awaitState(State.CONNECTED)
    }

    @Test
    fun `a network that comes is used at once`() = runBlocking {
        server.kill()
        withTimeout(20.seconds) { client.state.first { it == State.WAITING } }
        server.start()
        val callbacks = shadowOf(connectivity).networkCallbacks
        assertEquals(1, callbacks.size)
        callbacks.forEach { it.onAvailable(connectivity.activeNetwork!!) }
        awaitState(State.CONNECTED)
        lifecycle.close()
        assertEquals(0, shadowOf(connectivity).networkCallbacks.size)
        lifecycle = AndroidLifecycle.attach(application, client)
    }

    @Test
    fun `a client that is short of memory goes on`() = runBlocking {
        @Suppress("DEPRECATION") // Versions before Android 14 tell it.
        application.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_COMPLETE)
        assertTrue(client.send(Recipient.User("bob"), "still here").outcome().messageId != null)
    }

    @Test
    fun `a push notification brings what was missed`() = runBlocking {
        assertTrue(client.enteredBackground(10.seconds))
        awaitState(State.DISCONNECTED)
        val bobs = ClientConfig(listOf(server.webSocket), Terminal.ANDROID, "bobs-phone")
        Client.open(bobs) { server.token("bob") }.use { bob ->
            bob.connect()
            bob.sendAndWait(Recipient.User("alice"), "pushed")
        }
        assertTrue(PushSync.run(client))
        TestServer.waitUntil("the message is there") {
            events.any { it is Event.Message && it.message.text == "pushed" }
        }
        client.enteredBackground(10.seconds)
        awaitState(State.DISCONNECTED)
        server.kill()
        assertFalse(PushSync.run(client, 500.milliseconds))
    }

    private suspend fun awaitState(wanted: State) {
        withTimeout(20.seconds) { client.state.first { it == wanted } }
    }
}
