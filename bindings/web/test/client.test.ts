import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeFrames, encodeFrame, type Init } from "../src/codec.js";
import { Client, ImError, MemoryStore, SignedOutError, type ClientOptions, type SocketHandlers } from "../src/index.js";
import type { Frame } from "../src/proto.js";

/** A server in this process, with one log, that keeps what it was told. */
class FakeServer {
  readonly received: Frame[] = [];
  readonly log: string[] = [];
  connections = 0;
  open = 0;
  #handlers: SocketHandlers | undefined;

  readonly socket: ClientOptions["socket"] = (_, protocol, handlers) => {
    assert.equal(protocol, "im.v1");
    this.#handlers = handlers;
    this.connections++;
    this.open++;
    queueMicrotask(() => handlers.open());
    return {
      send: (bytes) => {
        for (const frame of decodeFrames(bytes, 65536)) this.#take(frame);
      },
      close: () => {
        this.open--;
        if (this.#handlers === handlers) this.#handlers = undefined;
      },
    };
  };

  send(...frames: Init<Frame>[]): void {
    for (const frame of frames) this.#handlers?.message(encodeFrame(frame));
  }

  #take(frame: Frame): void {
    this.received.push(frame);
    const cursors = frame.hello?.cursors ?? frame.sync?.cursors;
    if (!cursors) return;
    queueMicrotask(() => {
      if (frame.hello) this.send({ welcome: { version: 1, user: "me", serverTimeMs: Date.now(), heartbeatMs: 30_000 } });
      const [cursor = { seq: 0 }] = cursors;
      if (cursors.length === 0) this.send({ reset: { cursor: { seq: 0 }, reason: 1 } });
      for (let seq = cursor.seq + 1; seq <= this.log.length; seq++) this.send(this.entry(seq));
      this.send({ syncDone: { ends: [{ seq: this.log.length, id: BigInt(this.log.length) }] } });
    });
  }

  entry(seq: number): Init<Frame> {
    return { push: { seq, message: { id: BigInt(seq), from: "bob", to: "me", content: { text: { text: this.log[seq - 1] ?? "" } } } } };
  }

  say(text: string): void {
    this.log.push(text);
    this.send(this.entry(this.log.length));
  }

  connect(options: Partial<ClientOptions> = {}): Promise<Client> {
    return Client.open({ endpoints: ["ws://fake"], token: () => "a.b.c", socket: this.socket as NonNullable<ClientOptions["socket"]>, ...options });
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 500, `${what} did not happen within 5 s`);
    await sleep(10);
  }
}

test("events wait for a listener, and the next one comes when the promise of the last has resolved", async () => {
  const server = new FakeServer();
  const client = await server.connect();
  await until(() => client.state === "connected", "the connection");
  server.say("one");
  server.say("two");
  const seen: string[] = [];
  client.subscribe(async (event) => {
    if (event.type !== "message") return;
    seen.push(`begin ${event.message.content.text?.text}`);
    await sleep(20);
    seen.push(`end ${event.message.content.text?.text}`);
  });
  await until(() => seen.length === 4, "both messages");
  assert.deepEqual(seen, ["begin one", "end one", "begin two", "end two"]);
  await client.close();
});

test("what a loop over events takes is dealt with when it asks for the next one", async () => {
  const server = new FakeServer();
  const store = new MemoryStore();
  const client = await server.connect({ store });
  await until(() => client.state === "connected", "the connection");
  for (const text of ["one", "two", "three"]) server.say(text);
  const seen: string[] = [];
  for await (const event of client.events()) {
    if (event.type !== "message") continue;
    seen.push(event.message.content.text?.text ?? "");
    const saved = await store.load();
    await sleep(5);
    assert.ok((saved.cursors[0]?.seq ?? 0) < event.message.seq, "it is not dealt with yet");
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen, ["one", "two", "three"]);
  await client.close();
  assert.equal((await store.load()).cursors[0]?.seq, 3);
});

test("a loop over events ends when the client is closed", async () => {
  const client = await new FakeServer().connect();
  const loop = (async () => {
    let count = 0;
    for await (const _ of client.events()) count++;
    return count;
  })();
  await until(() => client.state === "connected", "the connection");
  await client.close();
  assert.ok((await loop) > 0);
});

test("with manual acknowledgement what the application has not dealt with comes again", async () => {
  const server = new FakeServer();
  const store = new MemoryStore();
  const first = await server.connect({ store, ack: "manual" });
  let seen: number[] = [];
  first.subscribe((event) => {
    if (event.type === "reset") first.ack(event.position);
    if (event.type !== "message" || !event.message.position) return;
    seen.push(event.message.seq);
    if (event.message.seq === 2) first.ack(event.message.position);
  });
  for (const text of ["one", "two", "three"]) server.say(text);
  await until(() => seen.length === 3, "three messages");
  await first.close();
  seen = [];
  const again = await server.connect({ store, ack: "manual" });
  again.subscribe((event) => void (event.type === "message" && seen.push(event.message.seq)));
  await until(() => seen.length > 0, "what was not dealt with");
  assert.deepEqual(seen, [3]);
  await again.close();
});

test("a listener that throws stops nobody, and what it threw is told", async () => {
  const server = new FakeServer();
  const errors: unknown[] = [];
  const client = await server.connect({ onListenerError: (error) => errors.push(error) });
  const seen: number[] = [];
  client.subscribe((event) => {
    if (event.type === "message") throw new Error(`seq ${event.message.seq}`);
  });
  client.subscribe((event) => void (event.type === "message" && seen.push(event.message.seq)));
  await until(() => client.state === "connected", "the connection");
  server.say("one");
  server.say("two");
  await until(() => seen.length === 2, "both");
  assert.deepEqual(errors.map((error) => (error as Error).message), ["seq 1", "seq 2"]);
  await client.close();
});

test("while too many events wait there is no connection, and then nothing is missing", async () => {
  const server = new FakeServer();
  const client = await server.connect();
  await until(() => client.state === "connected", "the connection");
  for (let index = 1; index <= 25_000; index++) server.say(`${index}`);
  await until(() => server.open === 0, "the end of the connection");
  await sleep(50);
  assert.equal(server.open, 0);
  const seen: number[] = [];
  client.subscribe((event) => void (event.type === "message" && seen.push(event.message.seq)));
  await until(() => seen.length >= 25_000, "all messages");
  assert.deepEqual(seen, Array.from({ length: 25_000 }, (_, index) => index + 1));
  await client.close();
});

test("one attempt at a time: the old socket is closed and cut before the next one", async () => {
  const server = new FakeServer();
  const handlers: SocketHandlers[] = [];
  const client = await server.connect({
    socket: (url, protocol, given) => {
      handlers.push(given);
      return (server.socket as NonNullable<ClientOptions["socket"]>)(url, protocol, given);
    },
  });
  const seen: string[] = [];
  client.subscribe((event) => void seen.push(event.type));
  await until(() => client.state === "connected", "the connection");
  handlers[0]?.close(4001, "slow");
  client.connect();
  await until(() => client.state === "connected", "the second connection");
  const before = seen.length;
  handlers[0]?.message(encodeFrame(server.entry(1)));
  handlers[0]?.close(4404, "late");
  await sleep(20);
  assert.deepEqual([seen.length, client.state, handlers.length], [before, "connected", 2]);
  await client.close();
});

test("a user who has logged out is not asked for further tokens", async () => {
  let asked = 0;
  const client = await new FakeServer().connect({
    token: () => {
      asked++;
      throw new SignedOutError("logged out");
    },
  });
  const seen: string[] = [];
  client.subscribe((event) => void seen.push(event.type));
  await until(() => client.state === "stopped", "the end");
  assert.deepEqual([asked, seen.at(-1)], [1, "stopped"]);
  await assert.rejects(client.history("inbox"), (error: unknown) => error instanceof ImError && error.code === "stopped");
  await client.close();
});

test("what makes no sense is refused before it is stored, with what to do", async () => {
  const store = new MemoryStore();
  const client = await new FakeServer().connect({ store });
  const code = (expected: string) => (error: unknown) => error instanceof ImError && error.code === expected;
  await assert.rejects(client.send({ user: "no spaces" }, "hi"), code("invalid"));
  await assert.rejects(client.send({ user: "bob" }, {}), code("invalid"));
  await assert.rejects(client.send({ user: "bob" }, "x".repeat(66_000)), code("too_large"));
  await assert.rejects(client.mark({ user: "bob" }, { draft: "x".repeat(1025) }), code("too_large"));
  await assert.rejects(client.watch(Array.from({ length: 501 }, (_, index) => `u${index}`)), code("invalid"));
  assert.deepEqual((await store.load()).outbox, []);
  const sent = await client.send({ user: "bob" }, "hi");
  await client.close(0);
  await assert.rejects(sent.outcome(), code("closed"));
  await assert.rejects(client.send({ user: "bob" }, "hi"), code("closed"));
  assert.equal((await store.load()).outbox.length, 1);
});
