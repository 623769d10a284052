package im.sdk.android

import android.app.Activity
import android.app.Application
import android.content.ComponentCallbacks2
import android.content.Context
import android.content.res.Configuration
import android.net.ConnectivityManager
import android.net.Network
import android.os.Bundle
import im.sdk.Client
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch

/**
 * Tells a [Client] what happens to its application: whether it is in the foreground, which network there is, and whether memory is short.
 * Closing it ends that, and leaves the client as it is.
 *
 * The application needs the permission `ACCESS_NETWORK_STATE`, which the manifest of this library brings.
 */
public class AndroidLifecycle private constructor(
    private val application: Application,
    private val client: Client,
    private val backgroundLimit: Duration,
) : AutoCloseable {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val connectivity = application.getSystemService(Context.CONNECTIVITY_SERVICE) as ConnectivityManager
    private val activities = ActivityListener()
    private val networks = NetworkListener()
    private val memory = MemoryListener()

    private fun register() {
        application.registerActivityLifecycleCallbacks(activities)
        application.registerComponentCallbacks(memory)
        connectivity.registerDefaultNetworkCallback(networks)
    }

    /** Stops telling the client. */
    override fun close() {
        application.unregisterActivityLifecycleCallbacks(activities)
        application.unregisterComponentCallbacks(memory)
        connectivity.unregisterNetworkCallback(networks)
        scope.cancel()
    }

    /** Counts the activities that are visible. They change on the main thread alone. */
    private inner class ActivityListener : Application.ActivityLifecycleCallbacks {
        private var visible = 0

        override fun onActivityStarted(activity: Activity) {
            visible++
            if (visible == 1) client.enteredForeground()
        }

        override fun onActivityStopped(activity: Activity) {
            visible--
            // An activity that is made anew, as when the screen turns, is visible again at once.
            if (visible == 0 && !activity.isChangingConfigurations) {
                scope.launch { client.enteredBackground(backgroundLimit) }
            }
        }

        override fun onActivityCreated(activity: Activity, state: Bundle?) = Unit

        override fun onActivityResumed(activity: Activity) = Unit

        override fun onActivityPaused(activity: Activity) = Unit

        override fun onActivitySaveInstanceState(activity: Activity, state: Bundle) = Unit

        override fun onActivityDestroyed(activity: Activity) = Unit
    }

    private inner class NetworkListener : ConnectivityManager.NetworkCallback() {
        override fun onAvailable(network: Network) = client.networkChanged()

        override fun onLost(network: Network) = client.networkChanged()
    }

    private inner class MemoryListener : ComponentCallbacks2 {
        @Suppress("DEPRECATION") // The levels above it are not told any more since Android 14.
        override fun onTrimMemory(level: Int) {
            if (level >= ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW) client.memoryPressure()
        }

        @Deprecated("Android tells it on old versions.")
        override fun onLowMemory() = client.memoryPressure()

        override fun onConfigurationChanged(configuration: Configuration) = Unit
    }

    public companion object {
        /**
         * Begins to tell a client, which is [connected][Client.connect] apart from this. Call it on the main thread, before the first
         * activity starts: in [Application.onCreate].
         *
         * An application that goes into the background has [backgroundLimit] to send and to save what waits.
         */
        @JvmSynthetic
        public fun attach(
            application: Application,
            client: Client,
            backgroundLimit: Duration = BACKGROUND_LIMIT,
        ): AndroidLifecycle = AndroidLifecycle(application, client, backgroundLimit).apply { register() }

        /** Begins to tell a client, for Java. */
        @JvmStatic
        public fun attach(application: Application, client: Client): AndroidLifecycle =
            attach(application, client, BACKGROUND_LIMIT)

        /** Android lets a process that has just left the foreground run for some seconds at least. */
        private val BACKGROUND_LIMIT = 5.seconds
    }
}
