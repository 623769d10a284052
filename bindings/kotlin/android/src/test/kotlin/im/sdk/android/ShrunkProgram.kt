package im.sdk.android

import im.sdk.Client
import im.sdk.ClientConfig
import im.sdk.Content
import im.sdk.Event
import im.sdk.LogLevel
import im.sdk.Logging
import im.sdk.PublishException
import im.sdk.Recipient
import im.sdk.Terminal
import im.sdk.Timeline
import kotlin.system.exitProcess
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking

/** What [ConsumerRulesTest] shrinks: calls into the library, calls back from it, and errors. */
object ShrunkProgram {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val (endpoint, token) = arguments
        runBlocking {
            Logging.setSink(LogLevel.WARN) { println("log: ${it.message}") }
            val client = Client.open(ClientConfig(listOf(endpoint), Terminal.ANDROID, "shrunk")) { token }
            client.connect()
            val sent = client.sendAndWait(Recipient.User("bob"), "hello")
            val message = client.events.filterIsInstance<Event.Message>().first().message
            check(message.id == sent.messageId) { "another message came: $message" }
            val timeline = Timeline("alice").apply { apply(message) }
            check(timeline.messages().single().content?.text == "hello") { "the timeline shows ${timeline.messages()}" }
            val refused = runCatching {
                client.sendAndWait(Recipient.Channel("not-a-member"), Content.text("let me in"))
            }.exceptionOrNull()
            check(refused is PublishException && refused.code == "refused") { "it was not refused: $refused" }
            client.shutdown()
        }
        println("everything works")
        exitProcess(0)
    }
}
