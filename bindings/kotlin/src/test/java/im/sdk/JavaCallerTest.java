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
            ReceivedMessage message = message(bob, "hello from Java");
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
            message(bob, "after the cancelled one");
            get(bob.shutdown());
            assertEquals(State.CLOSED, bob.getState());
        }
    }

    @Test
    void roomsGroupsAndSignals() throws Exception {
        try (TestServer server = TestServer.open();
                FutureClient alice = connect(server, "alice");
                FutureClient bob = connect(server, "bob")) {
            assertEquals(1, get(alice.joinRoom("room-java", Bytes.EMPTY)).getOnline());
            get(alice.leaveRoom("room-java"));
            assertEquals(1, get(bob.joinRoom("room-java", Bytes.EMPTY)).getOnline());

            Content add = Content.custom("cli-chat.group", Bytes.utf8("add java-team bob"));
            get(alice.sendAndWait(new Recipient.User("back-end"), add, Duration.ofSeconds(10)));
            Recipient team = new Recipient.Channel("java-team");
            get(alice.sendAndWait(team, Content.text("hello, team")));
            ReceivedMessage message = message(bob, "hello, team");
            get(bob.markRead(team, message.getPosition()));
            await(alice, event -> event instanceof Event.ChannelRead ? event : null);
            Readers readers = get(alice.readers("java-team", message.getPosition().getSeq(), 10));
            assertEquals(List.of("bob"), readers.getUsers());

            assertTrue(get(alice.watch(List.of("bob"))).get(0).isOnline());
            assertTrue(get(bob.signal(new Recipient.User("alice"), new Signal.Typing())));
            ReceivedSignal typing = signal(alice);
            Signal call = new Signal.Call("call-1", CallStep.RING);
            assertTrue(get(alice.signalDevice("bob", typing.getDevice(), call)));
            assertEquals(call, signal(bob).getSignal());
        }
    }

    @Test
    void historyChangesAndConversations() throws Exception {
        try (TestServer server = TestServer.open();
                FutureClient alice = connect(server, "alice");
                FutureClient bob = open(server, "bob")) {
            ConversationList list = bob.conversationList("bob");
            bob.connect();
            await(bob, event -> event instanceof Event.UpToDate ? event : null);
            get(bob.load(list));
            Recipient toBob = new Recipient.User("bob");
            Recipient toAlice = new Recipient.User("alice");
            get(alice.sendAndWait(toBob, Content.text("a needle")));
            ReceivedMessage message = message(bob, "a needle");
            assertEquals(1, list.getUnread().getCount());
            get(bob.setConversation(toAlice, new ConversationChange(null, true)));
            get(bob.markRead(toAlice, message.getPosition()));
            await(bob, event -> event instanceof Event.ConversationsChanged
                    && list.get(toAlice).getState().isPinned() && list.get(toAlice).getUnread() == 0 ? event : null);
            assertEquals(1, get(bob.conversations(0, 10)).getConversations().size());

            MessageRef reference = message.reference("bob");
            Published reaction = get(bob.changeAndWait(reference, new ChangeKind.Reaction("+1")));
            Published pin = get(get(bob.change(reference, new ChangeKind.Pin())).outcome());
            List<Long> ids = List.of(message.getId(), reaction.getMessageId(), pin.getMessageId());
            assertEquals(ids, ids(get(bob.rawHistory(toAlice, new HistoryQuery(), 10))));
            List<Long> first = List.of(message.getId());
            assertEquals(first, ids(get(bob.history(toAlice, new HistoryQuery(), 10))));
            assertEquals(first, ids(get(bob.fill(message.getPosition(), 10))));
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
            FoundPage found;
            do {
                found = get(bob.search(new Search("needle"), 10));
            } while (found.getMessages().isEmpty() && System.nanoTime() < end);
            assertEquals(first, found.getMessages().stream().map(ReceivedMessage::getId).toList());
        }
    }

    @Test
    void theLifeOfAnApplication() throws Exception {
        try (TestServer server = TestServer.open();
                FutureClient alice = open(server, "alice");
                FutureClient bob = connect(server, "bob")) {
            FutureSend refused = get(alice.send(new Recipient.Channel("not-a-member"), Content.text("let me in")));
            List<UnsettledSend> unsettled = get(alice.unsettledSends());
            assertEquals(List.of(refused.getHandle()), unsettled.stream().map(UnsettledSend::getHandle).toList());
            assertEquals(refused.getLocalId(), unsettled.get(0).getHandle().getLocalId());
            // The token is that of another user, and the endpoint of no server.
            alice.setToken(server.token("carol", 3600));
            alice.setEndpoints(List.of("ws://127.0.0.1:9"));
            alice.connect();
            await(alice, event -> event instanceof Event.Disconnected ? event : null);
            alice.setEndpoints(List.of(server.getWebSocket()));
            alice.networkChanged();
            Event.Connected connected = await(alice, event -> event instanceof Event.Connected it ? it : null);
            assertEquals("carol", connected.getUser());
            assertThrows(ExecutionException.class, () -> get(refused.outcome()));
            FutureSend again = get(refused.retry());
            assertThrows(ExecutionException.class, () -> get(again.outcome()));
            assertTrue(get(again.discard()));
            assertEquals(List.of(), get(alice.unsettledSends()));

            alice.memoryPressure();
            assertTrue(get(alice.enteredBackground(Duration.ofSeconds(10))));
            await(alice, event -> event instanceof Event.Disconnected ? event : null);
            get(bob.sendAndWait(new Recipient.User("carol"), Content.text("while you were away")));
            alice.enteredForeground();
            message(alice, "while you were away");
            alice.disconnect();
            await(alice, event -> event instanceof Event.Disconnected ? event : null);
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

    private static FutureClient connect(TestServer server, String user) throws Exception {
        FutureClient client = open(server, user);
        client.connect();
        await(client, event -> event instanceof Event.UpToDate ? event : null);
        return client;
    }

    private static List<Long> ids(HistoryPage page) {
        return page.getMessages().stream().map(ReceivedMessage::getId).toList();
    }

    private static ReceivedMessage message(FutureClient client, String text) throws Exception {
        return await(client, event -> event instanceof Event.Message came && text.equals(came.getMessage().getText())
                ? came.getMessage() : null);
    }

    private static ReceivedSignal signal(FutureClient client) throws Exception {
        return await(client, event -> event instanceof Event.SignalReceived came ? came.getSignal() : null);
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
