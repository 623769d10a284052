import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { ReactNode } from "react";
import { act, create, type ReactTestRenderer } from "react-test-renderer";
import { ClientProvider, useConnection, useConversations, useMessages, usePresence } from "../src/react.js";
import { Recorder, TestServer } from "./server.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = false;
let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server.stop());

let send: ((text: string) => Promise<unknown>) | undefined;
let loadMore: (() => Promise<void>) | undefined;

function Chat(): ReactNode {
  const view = useMessages({ user: "bob" });
  send = view.send;
  loadMore = view.loadMore;
  const texts = view.messages.map((message) => (message.recalled ? "(recalled)" : `${message.content?.text?.text}${message.reactions.map(({ emoji }) => emoji).join("")}`));
  return <p>{`messages ${texts.join(",")}; more ${view.hasMore}; pending ${view.pending.map(({ state }) => state).join(",")}`}</p>;
}

function Badge(): ReactNode {
  const { conversations, unread } = useConversations();
  return <p>{`${useConnection()}; ${conversations.length} conversations; ${unread.count} unread`}</p>;
}

function Light(): ReactNode {
  const presence = usePresence(["bob", "carol"]);
  const online = [...presence].filter(([, { terminals }]) => terminals.some((terminal) => terminal.online));
  return <p>{`online ${online.map(([user]) => user).join(",")}`}</p>;
}

async function shows(tree: ReactTestRenderer, pattern: RegExp): Promise<void> {
  for (let tries = 0; !pattern.test(JSON.stringify(tree.toJSON())); tries++) {
    assert.ok(tries < 200, `${String(pattern)} is not shown, but: ${JSON.stringify(tree.toJSON())}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("hooks show messages, changes, sends, unread counts and who is online, as they come", async () => {
  const bob = new Recorder(await server.open("bob"));
  await bob.connected();
  for (let index = 0; index < 60; index++) await bob.client.send({ user: "alice" }, `m${index}`);
  const { messageId } = await (await bob.client.send({ user: "alice" }, "last")).outcome();
  const alice = await server.open("alice");
  let tree!: ReactTestRenderer;
  act(() => {
    tree = create(
      <ClientProvider client={alice}>
        <Chat />
        <Badge />
        <Light />
      </ClientProvider>,
    );
  });
  await shows(tree, /messages (m\d+,)+last; more true/);
  await shows(tree, /connected; 1 conversations; 61 unread/);
  await shows(tree, /online bob/);
  await loadMore?.();
  await shows(tree, /messages m0,m1,.*,last; more false/);
  await send?.("answer");
  await shows(tree, /last,answer; more false; pending "/);
  const last = bob.messages.find(({ id }) => id === messageId);
  await bob.client.send({ user: "alice" }, { change: { messageId, seq: last?.seq ?? 0, reaction: { emoji: "👍" } } });
  await shows(tree, /last👍,answer/);
  await bob.client.send({ user: "alice" }, { change: { messageId, seq: last?.seq ?? 0, recall: {} } });
  await shows(tree, /\(recalled\),answer/);
  await shows(tree, /60 unread/);
  const carol = await server.open("carol");
  await shows(tree, /online (bob,carol|carol,bob)/);
  act(() => tree.unmount());
  await Promise.all([alice, bob.client, carol].map((client) => client.close(0)));
});

test("a hook without a provider says what to do", () => {
  const errors: unknown[] = [];
  assert.throws(() => {
    act(() => {
      create(<Badge />, { onUncaughtError: (error: unknown) => errors.push(error) } as never);
    });
    if (errors[0]) throw errors[0];
  }, /ClientProvider/);
});
