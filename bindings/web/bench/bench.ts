/**
 * What one core of this machine does with the client: events pulled and messages sent in a second. The server is in the same process,
 * and its part, encoding and answering, is taken off where it is more than handing over bytes.
 */
import { decodeFrames, encodeFrame } from "../src/codec.js";
import { Client, type SocketFactory, type SocketHandlers } from "../src/index.js";
import type { Frame } from "../src/proto.js";

const EVENTS = 400_000;
/** What a server has written when it flushes, in one WebSocket message. */
const FRAMES_AT_ONCE = 32;
const SENDS = 40_000;
const SENDS_AT_ONCE = 500;
const TEXT = "x".repeat(100);

function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A server in this process, which takes every publish. */
class Server {
  handlers!: SocketHandlers;
  received = 0;

  readonly socket: SocketFactory = (_url, _protocol, handlers) => {
    this.handlers = handlers;
    queueMicrotask(() => handlers.open());
    return { send: (bytes) => { for (const frame of decodeFrames(bytes, 65536)) this.#take(frame); }, close: () => {} };
  };

  #take({ hello, publish }: Frame): void {
    if (hello) {
      const welcome = { version: 1, user: "me", serverTimeMs: Date.now(), heartbeatMs: 30_000 };
      queueMicrotask(() => this.handlers.message(join([{ welcome }, { reset: { cursor: { seq: 0 }, reason: 1 } }, { syncDone: { ends: [{ seq: 0 }] } }].map(encodeFrame))));
    }
    if (publish) {
      const { number } = publish;
      queueMicrotask(() => this.handlers.message(encodeFrame({ publishResult: { number, accepted: { messageId: BigInt(++this.received) } } })));
    }
  }

  async connect(): Promise<Client> {
    const client = await Client.open({ endpoints: ["ws://bench"], token: () => "a.b.c", socket: this.socket });
    await new Promise<void>((resolve) => {
      const stop = client.subscribe((event) => {
        if (event.type !== "up_to_date") return;
        queueMicrotask(() => stop());
        resolve();
      });
    });
    return client;
  }
}

async function pull(): Promise<number> {
  const server = new Server();
  const client = await server.connect();
  const messages: Uint8Array[] = [];
  for (let first = 1; first <= EVENTS; first += FRAMES_AT_ONCE) {
    const frames = Array.from({ length: Math.min(FRAMES_AT_ONCE, EVENTS - first + 1) }, (_, index) =>
      encodeFrame({ push: { seq: first + index, message: { id: BigInt(first + index), from: "bob", to: "me", content: { text: { text: TEXT } } } } }),
    );
    messages.push(join(frames));
  }
  let bytes = 0;
  let seen = 0;
  client.subscribe((event) => {
    if (event.type !== "message") return;
    bytes += event.message.content.text?.text.length ?? 0;
    seen++;
  });
  const begun = performance.now();
  for (const [index, message] of messages.entries()) {
    server.handlers.message(message);
    // Sockets give way to timers and to what the client sends.
    if (index % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  while (seen < EVENTS) await new Promise((resolve) => setImmediate(resolve));
  const seconds = (performance.now() - begun) / 1000;
  if (bytes !== EVENTS * TEXT.length) throw new Error(`${bytes} bytes came`);
  await client.close(0);
  return EVENTS / seconds;
}

async function send(): Promise<number> {
  const server = new Server();
  const client = await server.connect();
  client.subscribe(() => {});
  const begun = performance.now();
  for (let sent = 0; sent < SENDS; sent += SENDS_AT_ONCE) {
    const handles = await Promise.all(Array.from({ length: SENDS_AT_ONCE }, (_, index) => client.send({ user: `user-${index % 100}` }, TEXT)));
    await Promise.all(handles.map((handle) => handle.outcome()));
  }
  const seconds = (performance.now() - begun) / 1000;
  if (server.received !== SENDS) throw new Error(`${server.received} messages were sent`);
  await client.close(0);
  return SENDS / seconds;
}

for (const [name, run] of [["events pulled", pull], ["messages sent, to the answer", send]] as const) {
  // The first runs compile.
  const rates: number[] = [];
  for (let round = 0; round < 5; round++) rates.push(await run());
  const [, ...warm] = rates;
  const sorted = warm.sort((one, other) => one - other);
  console.log(`${name}: ${Math.round((sorted[1] as number + (sorted[2] as number)) / 2).toLocaleString("en")} a second (${sorted.map((rate) => Math.round(rate).toLocaleString("en")).join(", ")})`);
}
