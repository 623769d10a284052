package im.sdk

import im.sdk.bridge.BridgedTokens
import im.sdk.bridge.toFfi
import im.sdk.bridge.toPublic
import java.io.File
import java.util.Locale
import java.util.concurrent.atomic.AtomicInteger
import kotlin.system.exitProcess
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.DurationUnit
import kotlin.time.TimeSource
import kotlin.time.measureTime
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/**
 * Measures the client against `im-server --dev`, a process beside it on the same machine, and prints a table: `./bench.sh [MESSAGES]`.
 * The figures of the bridge are without network and server.
 */
object Throughput {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val count = (arguments.firstOrNull()?.toInt() ?: 10_000).coerceAtLeast(BUDGET) / BUDGET * BUDGET
        val server = ProcessBuilder(
            TestServer.program("IM_SERVER", "im-server"), "--dev", "--websocket-port", "0", "--quic-port", "0",
        ).redirectError(ProcessBuilder.Redirect.DISCARD).start()
        Runtime.getRuntime().addShutdownHook(Thread { server.destroyForcibly() })
        val endpoint = server.inputReader().lineSequence().firstOrNull { it.startsWith("endpoint ws:") }?.substringAfter(' ')
        checkNotNull(endpoint) { "im-server has not started: run it with --dev to see why" }
        runBlocking(Dispatchers.Default) {
            val bench = Bench(endpoint)
            println("Java ${Runtime.version().feature()}, $count messages\n\n| | |\n| --- | ---: |")
            // At first: memory that others have let go of would be taken again.
            val (native, heap) = bench.idleKib()
            row("KiB of an idle client, in the library", native)
            row("KiB of an idle client, in the heap", heap)
            row("events/s, through the bridge alone", bench.bridged(count))
            row("events/s, pulled and acknowledged, from the flow", bench.pulled(count, "flow", bench::collect))
            row("events/s, pulled and acknowledged, in batches", bench.pulled(count, "batches", bench::take))
            row("sends/s, kept, 64 at once", bench.sends(count, "kept") { client, to -> client.send(to, "hi") })
            row("sends/s, answered, 64 at once", bench.sends(count, "answered") { client, to -> client.sendAndWait(to, "hi") })
            row("KiB of the jar", File("target/im-client-0.1.0.jar").length() / 1024.0)
            row("KiB of the native library in it", File("generated/resources").walk().filter { it.isFile }.sumOf { it.length() } / 1024.0)
        }
        exitProcess(0)
    }

    private fun row(name: String, figure: Double) = println(String.format(Locale.ROOT, "| %s | %,.0f |", name, figure))
}

/** The number of messages that a user may send at once, by the budget of a back end. */
private const val BUDGET = 1000

private class Bench(private val endpoint: String) {
    private val writers = AtomicInteger()

    /** Events/s of a client that has fallen behind: they wait in its log, and it takes them as fast as it can. */
    suspend fun pulled(count: Int, user: String, takeAll: suspend (Client, Int) -> Duration): Double {
        val reader = connected(user)
        reader.disconnect()
        reader.state.first { it == State.DISCONNECTED }
        fill(user, count)
        reader.connect()
        val spent = takeAll(reader, count)
        reader.shutdown()
        return count.perSecond(spent)
    }

    /** Takes messages from the flow, and returns the time from the first one to the last. */
    suspend fun collect(client: Client, count: Int): Duration {
        var taken = 0
        var began = TimeSource.Monotonic.markNow()
        client.events.first { event ->
            if (event is Event.Message) {
                if (taken++ == 0) began = TimeSource.Monotonic.markNow()
                if (taken % Client.BATCH == 0 || taken == count) event.message.position?.let(client::ack)
            }
            taken == count
        }
        return began.elapsedNow()
    }

    /** Does so in batches. */
    suspend fun take(client: Client, count: Int): Duration {
        var taken = 0
        var began = TimeSource.Monotonic.markNow()
        while (taken < count) {
            val messages = client.nextEvents().filterIsInstance<Event.Message>()
            if (taken == 0) began = TimeSource.Monotonic.markNow()
            taken += messages.size
            messages.lastOrNull()?.message?.position?.let(client::ack)
        }
        return began.elapsedNow()
    }

    /** Events/s of the bridge: batches that wait in the library are taken and converted. */
    suspend fun bridged(count: Int): Double {
        val client = im.sdk.ffi.Client.open(config().toFfi(), BridgedTokens { token("bridge") })
        client.connect()
        var spent = Duration.ZERO
        var taken = 0
        while (taken < count) {
            fill("bridge", BRIDGED)
            delay(50.milliseconds) // for the last ones to come into the library's queue
            spent += measureTime { taken += client.nextEvents(Client.BATCH.toUInt()).map { it.toPublic() }.size }
        }
        client.shutdown()
        return taken.perSecond(spent)
    }

    /** Sends/s of one client after the other, each with its own budget at the back end. */
    suspend fun sends(count: Int, user: String, send: suspend (Client, Recipient) -> Unit): Double {
        val to = List(100) { Recipient.User("receiver$it") }
        var spent = Duration.ZERO
        repeat(count / BUDGET) { number ->
            val client = connected("$user$number")
            spent += drained(client) { measureTime { each(BUDGET) { send(client, to[it % to.size]) } } }
            client.shutdown()
        }
        return count.perSecond(spent)
    }

    /** The memory that a client takes which is connected and has nothing to do: of the library, and of the heap. */
    suspend fun idleKib(): Pair<Double, Double> {
        // The first one loads classes.
        val clients = mutableListOf(connected("idle"))
        val (native, heap) = residentKib() to heapKib()
        repeat(IDLE) { clients += connected("idle$it") }
        val taken = (residentKib() - native) / IDLE to (heapKib() - heap) / IDLE
        clients.forEach { it.shutdown() }
        return taken
    }

    private suspend fun fill(user: String, count: Int) {
        for (first in 0 until count step BUDGET) {
            val writer = connected("writer${writers.getAndIncrement()}")
            drained(writer) {
                each(minOf(BUDGET, count - first)) { writer.sendAndWait(Recipient.User(user), "message $it", 30.seconds) }
            }
            writer.shutdown()
        }
    }

    /** Runs something while the client's events are taken: outcomes do not come otherwise. */
    private suspend fun <T> drained(client: Client, block: suspend () -> T): T = coroutineScope {
        val draining = launch { client.events.collect {} }
        block().also { draining.cancel() }
    }

    /** Runs a job that often, 64 at a time. */
    private suspend fun each(count: Int, job: suspend (Int) -> Unit) = coroutineScope {
        val next = AtomicInteger()
        List(AT_ONCE) {
            async { for (number in generateSequence { next.getAndIncrement().takeIf { it < count } }) job(number) }
        }.awaitAll()
    }

    private suspend fun connected(user: String): Client =
        Client.open(config()) { token(user) }.apply {
            connect()
            events.first { it is Event.UpToDate }
        }

    private fun config() = ClientConfig(listOf(endpoint), Terminal.DESKTOP, "bench")

    private fun token(user: String) = TestServer.token(user, "im-dev", "im-dev-secret-do-not-use-in-production")

    /** The memory of this process. The whole heap is a part of it from the start, as bench.sh says. */
    private fun residentKib(): Double =
        File("/proc/self/status").readLines().first { it.startsWith("VmRSS:") }.filter(Char::isDigit).toDouble()

    private fun heapKib(): Double {
        System.gc()
        return Runtime.getRuntime().run { totalMemory() - freeMemory() } / 1024.0
    }

    private fun Int.perSecond(spent: Duration): Double = this / spent.toDouble(DurationUnit.SECONDS)

    private companion object {
        const val AT_ONCE = 64
        const val IDLE = 100

        /** Fewer than the library lets wait, with room for other events. */
        const val BRIDGED = 200
    }
}
