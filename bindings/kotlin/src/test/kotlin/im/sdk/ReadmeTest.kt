package im.sdk

import java.io.File
import java.nio.file.Path
import kotlin.test.assertContains
import kotlin.test.assertNotNull
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir

class ReadmeTest {
    @TempDir
    lateinit var folder: Path

    @Test
    fun `the program of the README chats with a development server`() {
        val program = File("examples/Chat.kt").readText()
        assertContains(File("README.md").readText(), "```kotlin\n$program```")
        val processes = mutableListOf<Process>()
        try {
            val server = TestServer.program("IM_SERVER", "im-server")
            val printed = until(processes, "ready", server, "--dev", "--websocket-port", "0", "--quic-port", "0")
            val endpoint = assertNotNull(Regex("endpoint (ws:\\S+)").find(printed)).groupValues[1]
            val token = { user: String -> assertNotNull(Regex("token $user (\\S+)").find(printed)).groupValues[1] }
            val chat = { user: String, peer: String, pattern: String ->
                val java = ProcessHandle.current().info().command().get()
                val path = System.getProperty("java.class.path")
                until(processes, pattern, java, "-cp", path, "ChatKt", endpoint, token(user), peer)
            }
            chat("bob", "alice", "connected as bob")
            chat("alice", "bob", "connected as alice[\\s\\S]*(bob|alice): hello")
        } finally {
            processes.forEach { it.destroyForcibly().waitFor() }
        }
    }

    /** Starts a program and waits until it has printed something, and returns what it has printed. */
    private fun until(processes: MutableList<Process>, pattern: String, vararg command: String): String {
        val output = folder.resolve("output-${processes.size}").toFile()
        val process = ProcessBuilder(*command).redirectErrorStream(true).redirectOutput(output).start()
        processes += process
        TestServer.waitUntil("$pattern is printed by ${command.first()}") {
            check(process.isAlive) { "it ended: ${output.readText()}" }
            Regex(pattern).containsMatchIn(output.readText())
        }
        return output.readText()
    }
}
