package im.sdk.android

import im.sdk.TestServer
import java.io.File
import java.util.concurrent.TimeUnit
import java.util.zip.ZipFile
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertNotEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/**
 * The rules that the AAR brings for the shrinkers of applications, with ProGuard on the JVM. R8, which Android uses, reads the same rules.
 */
class ConsumerRulesTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `a program that is shrunk and renamed works with the rules`() {
        val rules = File("src/main/aar/proguard.txt")
        val shrunk = shrink(rules.readText())
        ZipFile(shrunk).use { jar ->
            assertNull(jar.getEntry("im/sdk/Client.class"), "public classes are renamed")
            assertNull(jar.getEntry("im/sdk/FutureClient.class"), "what is not used is gone")
        }
        TestServer.open().use { server ->
            val (exit, output) = run(shrunk, server)
            assertEquals(0, exit, output)
            assertContains(output, "everything works")
        }
    }

    @Test
    fun `it does not work without them`() {
        val shrunk = shrink("-dontwarn java.awt.**")
        TestServer.open().use { server ->
            val (exit, output) = run(shrunk, server)
            assertNotEquals(0, exit, output)
            assertContains(output, "UnsatisfiedLinkError")
        }
    }

    private fun shrink(rules: String): File {
        val shrunk = folder.newFile("shrunk.jar").apply { delete() }
        val libraries = LIBRARIES.map { name -> classPath.single { "/$name-[0-9.]+[.]jar$".toRegex().containsMatchIn(it) } }
        val classes = classPath.single { it.endsWith("/android/target/test-classes") }
        val configuration = folder.newFile("configuration.pro")
        configuration.writeText(
            buildString {
                appendLine("-injars $classes(im/sdk/android/ShrunkProgram*.class)")
                libraries.forEach { appendLine("-injars $it(!META-INF/versions/**,!module-info.class)") }
                appendLine("-outjars ${shrunk.path}")
                for (module in listOf("java.base", "java.logging")) {
                    appendLine("-libraryjars <java.home>/jmods/$module.jmod(!**.jar;!module-info.class)")
                }
                appendLine("-keep class im.sdk.android.ShrunkProgram { public static void main(java.lang.String[]); }")
                // ProGuard does not look for the rules inside a jar, as R8 does.
                ZipFile(libraries.last()).use { jar ->
                    appendLine(jar.getInputStream(jar.getEntry("META-INF/proguard/coroutines.pro")).reader().readText())
                }
                // On Android it is there.
                appendLine("-dontwarn android.annotation.SuppressLint")
                // The code that it writes for coroutines does not pass the JVM's verifier, whatever the rules are.
                appendLine("-dontoptimize")
                appendLine("-dontnote **\n-repackageclasses r")
                appendLine(rules)
            },
        )
        val (exit, output) = java("-cp", classPath.joinToString(":"), "proguard.ProGuard", "@${configuration.path}")
        assertEquals(0, exit, output)
        assertTrue(shrunk.isFile, output)
        return shrunk
    }

    private fun run(program: File, server: TestServer): Pair<Int, String> =
        java("-cp", program.path, "im.sdk.android.ShrunkProgram", server.webSocket, server.token("alice"))

    private fun java(vararg arguments: String): Pair<Int, String> {
        val output = folder.newFile()
        val java = ProcessHandle.current().info().command().get()
        val process = ProcessBuilder(java, *arguments).redirectErrorStream(true).redirectOutput(output).start()
        if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor()
            error("no end after $LIMIT_SECONDS s: ${output.readText()}")
        }
        return process.exitValue() to output.readText()
    }

    private companion object {
        val classPath: List<String> = System.getProperty("java.class.path").split(File.pathSeparator)

        /** What the program needs; the last one brings rules of its own. */
        val LIBRARIES = listOf("im-client", "jna", "jetbrains/annotations/.*/annotations", "kotlin-stdlib", "kotlinx-coroutines-core-jvm")

        const val LIMIT_SECONDS = 120L
    }
}
