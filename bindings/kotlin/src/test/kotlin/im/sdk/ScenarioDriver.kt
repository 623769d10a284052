package im.sdk

import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.system.exitProcess
import kotlinx.coroutines.DelicateCoroutinesApi
import kotlinx.coroutines.GlobalScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonObject

/** The driver of the scenarios in Kotlin: bindings/scenarios/README.md describes its protocol. */
object ScenarioDriver {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val output = System.out
        // Nothing else may be printed there.
        System.setOut(System.err)
        var device: ScenarioDevice? = null
        for (line in generateSequence(::readlnOrNull)) {
            val request = Json.parseToJsonElement(line).jsonObject
            val answer = try {
                runBlocking {
                    if (request.text("op") == "open") {
                        device = ScenarioDevice.open(request)
                        JsonObject(emptyMap())
                    } else {
                        checkNotNull(device) { "nothing was opened" }.answer(request)
                    }
                }
            } catch (failure: ImException) {
                error(failure.code, failure)
            } catch (failure: UnsupportedOperationException) {
                error("unsupported", failure)
            } catch (failure: RuntimeException) {
                error("invalid", failure)
            }
            output.println(answer)
            output.flush()
        }
        exitProcess(0)
    }

    private fun error(code: String, failure: Exception) = buildJsonObject {
        putJsonObject("error") {
            put("code", code)
            put("message", failure.toString())
        }
    }
}

private class ScenarioDevice(private val client: Client) {
    private val events = LinkedBlockingQueue<Event>()
    private val sends = mutableMapOf<String, SendHandle>()
    private val messages = mutableListOf<ReceivedMessage>()

    init {
        @OptIn(DelicateCoroutinesApi::class) // It goes on as long as the process.
        GlobalScope.launch { client.events.collect(events::put) }
    }

    suspend fun answer(request: JsonObject): JsonElement =
        when (val op = request.text("op")) {
            "connect" -> done { client.connect() }
            "disconnect" -> done { client.disconnect() }
            "next" -> next(request)
            "ack" -> done {
                client.ack(Position(request.text("channel"), request.long("seq"), request.id("id")))
            }
            "send" -> keep(client.send(recipient(request["to"]), request.text("text")))
            "outcome" -> buildJsonObject { put("message_id", id(send(request).outcome().messageId)) }
            "unsettled" -> buildJsonObject { put("sends", JsonArray(client.unsettledSends().map(::describe))) }
            "history" -> {
                val page = client.history(recipient(request["conversation"]), limit = request.long("limit").toInt())
                buildJsonObject { put("messages", JsonArray(page.messages.map(::describe))) }
            }
            "react" -> {
                val id = request["message"]!!.jsonObject.id("id")
                val reference = messages.first { it.id == id }.reference(request.text("me"))!!
                keep(client.react(reference, request.text("emoji")))
            }
            "shows" -> shows(request)
            "typing" -> buildJsonObject { put("sent", client.signal(recipient(request["to"]), Signal.Typing())) }
            "shutdown" -> done { client.shutdown() }
            else -> throw UnsupportedOperationException("there is no $op")
        }

    private fun next(request: JsonObject): JsonObject {
        val event = events.poll(request.long("within_ms"), TimeUnit.MILLISECONDS)
        if (event is Event.Message) messages += event.message
        return buildJsonObject { put("event", event?.let(::describe) ?: JsonNull) }
    }

    private fun keep(handle: SendHandle): JsonObject {
        sends[handle.localId.toString()] = handle
        return buildJsonObject { put("local_id", handle.localId.toString()) }
    }

    private fun send(request: JsonObject): SendHandle = sends.getValue(request.text("local_id"))

    private fun shows(request: JsonObject): JsonObject {
        val timeline = Timeline(request.text("me"))
        messages.forEach(timeline::apply)
        val shown = checkNotNull(timeline[request.id("id")!!]) { "there is no such message" }
        return buildJsonObject {
            put("text", shown.content?.text)
            putJsonObject("reactions") {
                shown.reactions.forEach { put(it.emoji, JsonArray(it.users.map(::JsonPrimitive))) }
            }
        }
    }

    private suspend fun done(block: suspend () -> Unit): JsonObject {
        block()
        return JsonObject(emptyMap())
    }

    companion object {
        suspend fun open(request: JsonObject): ScenarioDevice {
            val tokens = ArrayDeque(request.texts("tokens"))
            val config = ClientConfig(
                request.texts("endpoints"), Terminal.OTHER, request.text("device"), request.text("store"),
                trust = Trust.CertificateSha256(request.text("trust_sha256")),
            )
            val client = Client.open(config) { why ->
                if (why is TokenRequest.Rejected) tokens.removeFirstOrNull()
                tokens.firstOrNull() ?: throw TokenException.Denied("there is no other token")
            }
            return ScenarioDevice(client)
        }
    }
}

private fun describe(event: Event): JsonObject = buildJsonObject {
    when (event) {
        is Event.Connected -> {
            put("type", "connected")
            put("user", event.user)
        }
        is Event.Disconnected -> {
            put("type", "disconnected")
            put("code", event.code)
        }
        is Event.Message -> {
            put("type", "message")
            put("message", describe(event.message))
        }
        is Event.UpToDate -> put("type", "up_to_date")
        is Event.Reset -> {
            put("type", "reset")
            describe(event.position).forEach { (name, value) -> put(name, value) }
            put("reason", event.reason.name.lowercase())
        }
        is Event.Published -> {
            put("type", "published")
            put("local_id", id(event.localId))
            put("message_id", id(event.published.messageId))
        }
        is Event.PublishFailed -> {
            put("type", "publish_failed")
            put("local_id", id(event.localId))
            put("code", event.code)
        }
        is Event.Stopped -> {
            put("type", "stopped")
            put("code", event.code)
            put("cause", event.cause)
        }
        is Event.SignalReceived -> {
            put("type", if (event.signal.signal is Signal.Typing) "typing" else "other")
            put("from", event.signal.fromUser)
        }
        else -> put("type", "other")
    }
}

private fun describe(message: ReceivedMessage): JsonObject = buildJsonObject {
    put("id", id(message.id))
    put("from", message.fromUser)
    put("to", message.toUser)
    put("channel", message.channel)
    put("local_id", id(message.localId))
    put("text", message.text)
    put("position", message.position?.let(::describe) ?: JsonNull)
}

private fun describe(position: Position): JsonObject = buildJsonObject {
    put("channel", position.channel)
    put("seq", position.seq)
    put("id", id(position.id))
}

private fun describe(send: UnsettledSend): JsonObject = buildJsonObject {
    put("local_id", id(send.handle.localId))
    put("text", send.content.text)
    put("state", send.state.name.lowercase())
}

private fun id(number: Long?): JsonPrimitive = number?.let { JsonPrimitive(it.toULong().toString()) } ?: JsonNull

private fun recipient(value: JsonElement?): Recipient {
    val named = value!!.jsonObject
    return named["user"]?.let { Recipient.User(it.jsonPrimitive.content) } ?: Recipient.Channel(named.text("channel"))
}

private fun JsonObject.text(name: String): String = getValue(name).jsonPrimitive.content

private fun JsonObject.texts(name: String): List<String> = getValue(name).jsonArray.map { it.jsonPrimitive.content }

private fun JsonObject.long(name: String): Long = getValue(name).jsonPrimitive.long

private fun JsonObject.id(name: String): Long? = this[name]?.jsonPrimitive?.contentOrNull?.toULong()?.toLong()
