package im.sdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** The API as Java sees it, against a real server. */
class JavaCallerTest {
    private static final long PATIENCE = 20;

    @Test
    void twoDevicesTalk() throws Exception {
        try (TestServer server = TestServer.open();
                FutureClient alice = open(server, "alice");
                FutureClient bob = open(server, "bob")) {
            ConcurrentLinkedQueue<State> states = new ConcurrentLinkedQueue<>();
            AutoCloseable listening = alice.addStateListener(states::add);
            for (FutureClient client : List.of(alice, bob)) {
                client.connect();
                await(client, event -> event instanceof Event.UpToDate ? event : null);
            }
            assertEquals(State.CONNECTED, alice.getState());
            listening.close();
            assertTrue(states.contains(State.CONNECTED), states::toString);

            Recipient toBob = new Recipient.User("bob");
            FutureSend sent = get(alice.send(toBob, Content.text("hello from Java"), Duration.ofSeconds(10)));
            Published published = get(sent.outcome());
            ReceivedMessage message = await(bob, event ->
                    event instanceof Event.Message came && "hello from Java".equals(came.getMessage().getText())
                            ? came.getMessage() : null);
            assertEquals(published.getMessageId(), message.getId());
            bob.ack(message.getPosition());

            HistoryPage page = get(bob.history(new Recipient.User("alice"), HistoryRange.Newest.INSTANCE, 10));
            assertEquals(List.of(message.getId()), page.getMessages().stream().map(ReceivedMessage::getId).toList());

            ExecutionException refused = assertThrows(ExecutionException.class,
                    () -> get(alice.sendAndWait(new Recipient.Channel("not-a-member"), Content.text("let me in"))));
            PublishException cause = assertInstanceOf(PublishException.class, refused.getCause());
            assertEquals("refused", cause.getCode());

            CompletableFuture<List<Event>> waiting = bob.nextEvents(10);
            waiting.cancel(true);
            get(alice.sendAndWait(toBob, Content.text("after the cancelled one")));
            await(bob, event -> event instanceof Event.Message came
                    && "after the cancelled one".equals(came.getMessage().getText()) ? came : null);
            get(bob.shutdown());
            assertEquals(State.CLOSED, bob.getState());
        }
    }

    @Test
    void whatCannotWorkIsTold() {
        ClientConfig config = ClientConfig.builder(List.of(), Terminal.DESKTOP, "java").build();
        OpenException failure = assertThrows(OpenException.class, () -> FutureClient.open(config, request -> ""));
        assertEquals("no_endpoints", failure.getCode());
    }

    private static FutureClient open(TestServer server, String user) {
        ClientConfig config = ClientConfig.builder(List.of(server.getWebSocket()), Terminal.DESKTOP, "java-" + user)
                .requestTimeout(Duration.ofSeconds(10))
                .clientName("java-test/1")
                .build();
        return FutureClient.open(config, request -> server.token(user, 3600));
    }

    private static <T> T await(FutureClient client, Function<Event, T> wanted) throws Exception {
        while (true) {
            for (Event event : get(client.nextEvents(1))) {
                T found = wanted.apply(event);
                if (found != null) {
                    return found;
                }
            }
        }
    }

    private static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(PATIENCE, TimeUnit.SECONDS);
    }
}
