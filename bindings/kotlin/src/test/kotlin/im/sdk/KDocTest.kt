package im.sdk

import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

class KDocTest {
    private val declaration = Regex("^ *(public (?!companion)|val [a-z]|[A-Z][A-Z_0-9]*,$)")

    @Test
    fun `everything public is documented`() {
        val files = File("src/main/kotlin/im/sdk").listFiles { file -> file.extension == "kt" && file.name != "EventQueue.kt" }
        var declarations = 0
        val undocumented = files!!.flatMap { file ->
            val lines = file.readLines().filter { !it.trim().startsWith("@") }
            lines.indices.filter { declaration.containsMatchIn(lines[it]) && !isLocal(lines, it) }
                .onEach { declarations++ }
                .filter { !lines[it - 1].endsWith("*/") }
                .map { "${file.name}: ${lines[it].trim()}" }
        }
        assertEquals(emptyList(), undocumented)
        assertTrue(declarations > 300, "only $declarations were found")
    }

    /** A variable in a function: properties of public classes stand in their constructors or say `public`. */
    private fun isLocal(lines: List<String>, index: Int): Boolean {
        val line = lines[index]
        return line.trimStart().startsWith("val ") && !line.endsWith(",")
    }
}
