package im.sdk

import java.io.File
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import org.jetbrains.kotlin.abi.tools.AbiFilters
import org.jetbrains.kotlin.abi.tools.AbiTools
import org.junit.jupiter.api.Test

class ApiTest {
    private val listed = File("api/im-client.api")

    @Test
    fun `the public API is the one that is listed`() {
        val classes = File("target/classes").walk().filter { it.extension == "class" }.toList()
        val actual = buildString { AbiTools.getInstance().printJvmDump(this, classes, AbiFilters.EMPTY) }
        assertContains(actual, "public final class im/sdk/Client ", message = "the list is made")
        if (System.getProperty("api.update") == "true") listed.apply { parentFile.mkdirs() }.writeText(actual)
        assertEquals(listed.readText(), actual, "api/im-client.api differs: update it with `mvn test -Dapi.update=true`")
        assertFalse(actual.contains("im/sdk/ffi"), "no generated type is part of it")
    }
}
