package im.sdk

import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.test.runTest
import kotlinx.coroutines.withContext
import kotlinx.coroutines.yield
import org.junit.jupiter.api.Test

class EventQueueTest {
    private fun numbered(number: Int) = Event.PublishFailed(number.toLong(), "", "", null, 0, false)

    private fun numbers(events: List<Event>) = events.map { (it as Event.PublishFailed).localId.toInt() }

    @Test
    fun `takers that are cancelled at any time lose and repeat nothing`() = runTest {
        val queue = EventQueue(8)
        val taken = mutableListOf<Event>()
        withContext(Dispatchers.Default) {
            launch {
                for (number in 0 until 20_000) {
                    queue.awaitRoom()
                    queue.put(listOf(numbered(number)))
                }
                queue.end()
            }
            var round = 0
            while (taken.size < 20_000) {
                val taker = launch(Dispatchers.Default) { queue.collect { taken += it } }
                // Another core cancels it wherever it is.
                repeat(round % 50) { Thread.onSpinWait() }
                // A core that is alone with all of this gives the taker its turn.
                if (round % 5 == 0) yield()
                taker.cancelAndJoin()
                round += 1
            }
        }
        assertEquals(List(20_000) { it }, numbers(taken))
        assertEquals(emptyList(), queue.toList(), "it has ended")
    }

    @Test
    fun `a full queue makes its filler wait, until it is lifted`() = runTest {
        val queue = EventQueue(2)
        queue.put(List(3, ::numbered))
        val filler = launch { queue.awaitRoom() }
        testScheduler.runCurrent()
        assertTrue(filler.isActive)
        assertEquals(listOf(0), numbers(queue.take(1)))
        testScheduler.runCurrent()
        assertTrue(filler.isActive, "two are as many as it holds")
        assertEquals(listOf(1), numbers(queue.take(1)))
        filler.join()
        queue.put(List(3, ::numbered))
        queue.lift()
        queue.awaitRoom()
        assertEquals(listOf(2, 0, 1, 2), numbers(queue.take(10)))
    }

    @Test
    fun `what is put back comes first`() = runTest {
        val queue = EventQueue(8)
        queue.put(List(4, ::numbered))
        queue.putBack(queue.take(2))
        queue.end()
        assertEquals(listOf(0, 1, 2, 3), numbers(queue.toList()))
        assertEquals(emptyList(), queue.take(1))
    }
}
