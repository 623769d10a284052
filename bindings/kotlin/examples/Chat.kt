import im.sdk.Client
import im.sdk.ClientConfig
import im.sdk.Event
import im.sdk.Recipient
import im.sdk.Terminal
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/** Says hello to another user and prints what comes: ENDPOINT TOKEN USER. */
fun main(arguments: Array<String>): Unit = runBlocking {
    val (endpoint, token, peer) = arguments
    val config = ClientConfig(listOf(endpoint), Terminal.DESKTOP, deviceId = "chat-kt")
    val client = Client.open(config) { token } // in a product: ask your back end for one, each time
    launch {
        client.events.collect { event ->
            when (event) {
                is Event.Connected -> println("connected as ${event.user}")
                is Event.Message -> {
                    println("${event.message.fromUser}: ${event.message.text}")
                    event.message.position?.let(client::ack) // dealt with: it does not come again
                }
                is Event.Stopped -> println("stopped: ${event.reason}")
                else -> {}
            }
        }
    }
    client.connect()
    val sent = client.send(Recipient.User(peer), "hello") // the store has it: it travels as soon as it can
    sent.outcome() // the back end took it
}
