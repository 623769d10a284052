package im.sdk

import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.update

/**
 * Events on their way to the application. An event goes to one taker. A taker that is cancelled takes none with it: nothing suspends
 * between the removal of an event and the taker's hands. A channel does not promise that.
 */
internal class EventQueue(private var capacity: Int) : Flow<Event> {
    private val lock = Any()
    private val events = ArrayDeque<Event>()
    private var isEnded = false
    private val added = MutableStateFlow(0L)
    private val isFull = MutableStateFlow(false)

    /** Counts the batches that were put in. */
    val batches: StateFlow<Long> = added.asStateFlow()

    /** Adds events. The one caller waits for room before it fetches more. */
    fun put(batch: List<Event>) {
        synchronized(lock) {
            events.addAll(batch)
            isFull.value = events.size >= capacity
        }
        added.update { it + 1 }
    }

    /** Puts events back that a taker did not want after all. */
    fun putBack(batch: List<Event>) {
        synchronized(lock) { events.addAll(0, batch) }
        added.update { it + 1 }
    }

    /** Ends the queue behind the events that are in it. */
    fun end() {
        synchronized(lock) { isEnded = true }
        added.update { it + 1 }
    }

    /** Takes whatever comes from here on, however full it is. */
    fun lift() {
        synchronized(lock) {
            capacity = Int.MAX_VALUE
            isFull.value = false
        }
    }

    /** Waits until there is room. */
    suspend fun awaitRoom() {
        isFull.first { !it }
    }

    /** Takes at least one event, waiting for it if need be, and at most [max]. Returns none only behind the end. */
    suspend fun take(max: Int): List<Event> {
        while (true) {
            currentCoroutineContext().ensureActive()
            val seen = added.value
            val batch = tryTake(max)
            if (batch != null) return batch
            added.first { it != seen }
        }
    }

    override suspend fun collect(collector: FlowCollector<Event>) {
        while (true) {
            val event = take(1).firstOrNull() ?: return
            collector.emit(event)
        }
    }

    /** Returns `null` if there is nothing yet. */
    private fun tryTake(max: Int): List<Event>? =
        synchronized(lock) {
            if (events.isEmpty() && !isEnded) return null
            val batch = List(minOf(max, events.size)) { events.removeFirst() }
            isFull.value = events.size >= capacity
            batch
        }
}
