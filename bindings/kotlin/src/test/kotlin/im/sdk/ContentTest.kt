package im.sdk

import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotEquals
import org.junit.jupiter.api.Test

class ContentTest {
    private val media = Media("https://example.com/a", "image/png", 42, Bytes.of(ByteArray(32) { it.toByte() }), "a.png")

    @Test
    fun `every kind of content travels`() {
        val bodies = listOf(
            Body.Text("hello"),
            Body.Image(media, 640, 480, Media("https://example.com/small"), "caption"),
            Body.File(media, "caption"),
            Body.Voice(media, 1500, Bytes.of(byteArrayOf(1, 2, 3))),
            Body.Video(media, 2500, 640, 480, Media("https://example.com/still"), "caption"),
            Body.Location(525_000_000, -134_000_000, "name", "address"),
            Body.Card("user", "bob", "Bob", "text", "https://example.com", media),
            Body.Forwarded("title", listOf(ForwardedEntry("bob", "Bob", 1000, Content.text("hi")))),
            Body.Notice("joined", "bob has joined", mapOf("user" to "bob")),
            Body.Change(7, ChangeKind.Recall),
            Body.Change(7, ChangeKind.Edit(Content.text("better")), "team"),
            Body.Change(7, ChangeKind.DeleteForMe),
            Body.Change(7, ChangeKind.Reaction("👍", isRemoved = true)),
            Body.Change(7, ChangeKind.Pin()),
            Body.Custom("order.paid", Bytes.utf8("data")),
        )
        for (body in bodies) {
            val content = Content(
                body, listOf("alice", "bob"), true, Quote(5, "bob", "text", "excerpt", seq = 3), thread = 9, isSilent = true,
            )
            assertEquals(content, Content.decode(content.encode()))
        }
    }

    @Test
    fun `fields of a newer version are kept`() {
        // Field 2000 of the protocol's content, a number.
        val newer = Content.text("hello").encode().toByteArray() + byteArrayOf(0x80.toByte(), 0x7d, 1)
        val decoded = Content.decode(Bytes.of(newer))
        assertEquals("hello", decoded.text)
        assertEquals(Bytes.of(newer), decoded.encode())
        assertEquals(Bytes.of(newer), decoded.copy(mentions = emptyList()).encode())
        assertNotEquals(Content.text("hello"), decoded)
    }

    @Test
    fun `what is no content is told`() {
        assertFailsWith<InvalidContentException> { Content.decode(Bytes.of(byteArrayOf(-1, -1, -1))) }
        assertFailsWith<InvalidContentException> { Content(Body.Text("hi"), mentions = listOf("a b/{")).encode() }
    }

    @Test
    fun `bytes are compared by content, and cannot be changed`() {
        val array = byteArrayOf(1, 2)
        val bytes = Bytes.of(array)
        array[0] = 9
        bytes.toByteArray()[1] = 9
        assertEquals(Bytes.of(byteArrayOf(1, 2)), bytes)
        assertEquals("Bytes(0102)", bytes.toString())
        assertEquals("héllo", Bytes.utf8("héllo").decodeToString())
    }
}
