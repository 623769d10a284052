package im.sdk

import java.io.File
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.net.Socket
import java.nio.file.Files
import java.util.Base64
import java.util.concurrent.TimeUnit
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec

/** A server with a back end that keeps everything: `cli-chat serve`, which can be killed and started again. */
class TestServer private constructor(private val port: Int) : AutoCloseable {
    private val data = Files.createTempDirectory("im-kotlin-").toFile()
    private val settings = File(data, "server.dev")
    private var process: Process? = null

    val webSocket: String get() = "ws://127.0.0.1:$port"

    val quic: String get() = "quic://127.0.0.1:$port"

    /** The fingerprint of the certificate, which QUIC needs. */
    val fingerprint: String get() = setting("certificate-sha256")

    fun start() {
        val output = File(data, "output")
        val started = ProcessBuilder(
            program("IM_CLI_CHAT", "cli-chat"), "serve", "--listen", "127.0.0.1:$port", "--data", data.path,
        ).redirectErrorStream(true).redirectOutput(output).start()
        process = started
        Runtime.getRuntime().addShutdownHook(Thread { started.destroyForcibly() })
        waitUntil("the server listens") {
            check(started.isAlive) { "the server ended: ${output.readText()}" }
            // It writes its settings while it listens already.
            hasSettings() && runCatching { Socket().use { it.connect(InetSocketAddress("127.0.0.1", port), 1000) } }.isSuccess
        }
    }

    /** Kills it with -9. */
    fun kill() {
        process?.destroyForcibly()?.waitFor()
    }

    override fun close() {
        kill()
        data.deleteRecursively()
    }

    /** Mints a token as a back end does. */
    fun token(user: String, seconds: Long = 3600): String = token(user, "cli-chat", setting("secret"), seconds)

    private fun hasSettings(): Boolean =
        settings.isFile && SETTINGS.all { name -> settings.readLines().any { it.startsWith("$name ") } }

    private fun setting(name: String): String =
        settings.readLines().first { it.startsWith("$name ") }.substringAfter(' ')

    companion object {
        private val SETTINGS = listOf("secret", "certificate-sha256")

        @JvmStatic
        fun open(): TestServer = TestServer(freePort()).apply { start() }

        /** Mints a token with the key of a development server. */
        fun token(user: String, issuer: String, secret: String, seconds: Long = 3600): String {
            val now = System.currentTimeMillis() / 1000
            val header = """{"alg":"HS256","kid":"dev","typ":"JWT"}"""
            val claims = """{"sub":"$user","iss":"$issuer","aud":"im","iat":$now,"exp":${now + seconds}}"""
            val signed = "${base64(header.toByteArray())}.${base64(claims.toByteArray())}"
            val mac = Mac.getInstance("HmacSHA256")
            mac.init(SecretKeySpec(secret.toByteArray(), "HmacSHA256"))
            return "$signed.${base64(mac.doFinal(signed.toByteArray()))}"
        }

        /** Returns the path of a program of the workspace. */
        fun program(variable: String, name: String): String {
            val path = System.getenv(variable) ?: "../../target/debug/$name"
            check(File(path).canExecute()) { "$path is missing: run `cargo build --workspace --bins`, or set $variable" }
            return path
        }

        /** Waits until a condition holds, and fails after 20 s. */
        fun waitUntil(what: String, condition: () -> Boolean) {
            val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20)
            while (!condition()) {
                check(System.nanoTime() < deadline) { "timed out after 20 s waiting until $what" }
                Thread.sleep(20)
            }
        }

        private fun freePort(): Int = ServerSocket(0).use { it.localPort }

        private fun base64(bytes: ByteArray): String = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes)
    }
}
