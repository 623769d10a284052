/**
 * The driver of the scenarios that every language runs: it holds one device, and is told what to do as lines of JSON. The protocol stands
 * in bindings/scenarios/README.md.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import {
  Client, ImError, MemoryStore, SignedOutError, Terminal, Timeline, webSocket,
  type ClientEvent, type Conversation, type Position, type ReceivedMessage, type Store,
} from "../src/index.js";
import type { Batch, Saved, SavedPublish } from "../src/store/store.js";

/** Each value that JSON does not have, as a text that says what it was. */
const pack = (_: string, value: unknown): unknown =>
  typeof value === "bigint" ? `bigint:${value}` : value instanceof Uint8Array ? `bytes:${Buffer.from(value).toString("base64")}` : typeof value === "string" ? `text:${value}` : value;
const unpack = (_: string, value: unknown): unknown => {
  if (typeof value !== "string") return value;
  const content = value.slice(value.indexOf(":") + 1);
  if (value.startsWith("bigint:")) return BigInt(content);
  return value.startsWith("bytes:") ? new Uint8Array(Buffer.from(content, "base64")) : content;
};

/** A store in a file, which is replaced as a whole by each write. */
class FileStore implements Store {
  readonly #path: string;
  readonly #memory: MemoryStore;
  #nextLocalId: number;

  constructor(path: string) {
    this.#path = path;
    const saved = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8"), unpack) as Saved & { nextLocalId: number }) : undefined;
    this.#memory = new MemoryStore(saved);
    this.#nextLocalId = saved?.nextLocalId ?? 1;
  }

  async #write<T>(result: Promise<T>): Promise<T> {
    const value = await result;
    writeFileSync(`${this.#path}.new`, JSON.stringify({ ...this.#memory.saved(), nextLocalId: this.#nextLocalId }, pack));
    renameSync(`${this.#path}.new`, this.#path);
    return value;
  }

  load(): Promise<Saved> {
    return this.#write(this.#memory.load());
  }

  async append(to: string, content: Uint8Array, installation?: bigint): Promise<number> {
    const localId = await this.#memory.append(to, content, installation);
    this.#nextLocalId = localId + 1;
    return this.#write(Promise.resolve(localId));
  }

  async retry(localId: number): Promise<SavedPublish | undefined> {
    const retry = await this.#memory.retry(localId);
    if (retry) this.#nextLocalId = retry.localId + 1;
    return this.#write(Promise.resolve(retry));
  }

  appended(after: number): Promise<SavedPublish[]> {
    return this.#memory.appended(after);
  }

  save(batch: Batch): Promise<void> {
    return this.#write(this.#memory.save(batch));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Request {
  readonly op: string;
  readonly endpoints: string[];
  readonly device: string;
  readonly store: string;
  readonly tokens: string[];
  readonly within_ms: number;
  readonly channel: string;
  readonly seq: number;
  readonly id?: string | null;
  readonly to: Conversation;
  readonly text: string;
  readonly local_id: string;
  readonly conversation: Conversation;
  readonly limit: number;
  readonly message: { readonly id: string };
  readonly me: string;
  readonly emoji: string;
}

type Answer = Record<string, unknown>;

/** One device. */
class Driver {
  #client: Client | undefined;
  readonly #events: ClientEvent[] = [];
  readonly #outcomes = new Map<number, ClientEvent & { type: "sent" | "send_failed" }>();
  readonly #messages = new Map<string, ReceivedMessage>();
  readonly #handedOut: ReceivedMessage[] = [];
  readonly #timelines = new Map<string, Timeline>();
  #come: () => void = () => {};

  get #device(): Client {
    if (!this.#client) throw new ImError("closed", "no device is open");
    return this.#client;
  }

  async open({ endpoints, device, store, tokens }: Request): Promise<Answer> {
    const left = [...tokens];
    let asked = 0;
    this.#client = await Client.open({
      // The client begins with any of them, and the runner has named the first.
      endpoints: () => (asked++ === 0 ? endpoints.slice(0, 1) : endpoints),
      device, store: new FileStore(store), terminal: Terminal.Other, socket: webSocket(WebSocket as never), ack: "manual",
      token: (request) => {
        if (request.reason === "rejected") left.shift();
        if (left[0] === undefined) throw new SignedOutError("there are no more tokens");
        return left[0];
      },
    });
    // All the time, so that outcomes come whatever the runner asks for.
    this.#client.subscribe((event) => {
      if (event.type === "sent" || event.type === "send_failed") this.#outcomes.set(event.localId, event);
      this.#events.push(event);
      this.#come();
    });
    // The runner says when to connect.
    this.#client.disconnect();
    return {};
  }

  connect(): Answer {
    this.#device.connect();
    return {};
  }

  disconnect(): Answer {
    this.#device.disconnect();
    return {};
  }

  /** Waits until something is there. */
  async #until<T>(find: () => T | undefined, withinMs: number): Promise<T | undefined> {
    const end = Date.now() + withinMs;
    for (;;) {
      const found = find();
      if (found !== undefined || Date.now() >= end) return found;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, end - Date.now());
        this.#come = () => (clearTimeout(timer), resolve());
      });
    }
  }

  async next({ within_ms: withinMs }: Request): Promise<Answer> {
    const event = await this.#until(() => this.#events.shift(), withinMs);
    if (event?.type === "message") {
      const { message } = event;
      this.#handedOut.push(message);
      this.#messages.set(String(message.id), message);
      for (const timeline of this.#timelines.values()) timeline.apply(message);
    }
    return { event: event ? eventJson(event) : null };
  }

  ack({ channel, seq, id }: Request): Answer {
    this.#device.ack({ log: channel, seq, id: BigInt(id ?? 0) });
    return {};
  }

  async send({ to, text }: Request): Promise<Answer> {
    return { local_id: String((await this.#device.send(to, text)).localId) };
  }

  async outcome({ local_id: localId }: Request): Promise<Answer> {
    const outcome = await this.#until(() => this.#outcomes.get(Number(localId)), 60_000);
    if (!outcome) throw new ImError("timeout", `nothing came of the send ${localId}`);
    if (outcome.type === "send_failed") throw outcome.error;
    return { message_id: outcome.messageId === 0n ? null : String(outcome.messageId) };
  }

  async unsettled(): Promise<Answer> {
    const queued = await this.#device.queued();
    return { sends: queued.map(({ localId, content, state }) => ({ local_id: String(localId), text: content.text?.text ?? null, state })) };
  }

  async history({ conversation, limit }: Request): Promise<Answer> {
    const { messages } = await this.#device.history(conversation, { limit });
    for (const message of messages) this.#messages.set(String(message.id), message);
    return { messages: messages.map(messageJson) };
  }

  async react({ message: { id }, me, emoji }: Request): Promise<Answer> {
    const message = this.#messages.get(id);
    if (!message) throw new ImError("invalid", `no message ${id} was handed out`);
    const to: Conversation = message.channel ? { channel: message.channel } : { user: message.from === me ? (message.to ?? me) : (message.from ?? me) };
    const sent = await this.#device.send(to, { change: { messageId: message.id, seq: message.seq, reaction: { emoji } } });
    return { local_id: String(sent.localId) };
  }

  shows({ me, id }: Request): Answer {
    const timeline = this.#timelines.get(me) ?? new Timeline(me);
    if (!this.#timelines.has(me)) for (const message of this.#handedOut) timeline.apply(message);
    this.#timelines.set(me, timeline);
    const shown = timeline.get(BigInt(id ?? 0));
    return { text: shown?.content?.text?.text ?? null, reactions: Object.fromEntries((shown?.reactions ?? []).map(({ emoji, users }) => [emoji, users])) };
  }

  async typing({ to }: Request): Promise<Answer> {
    return { sent: await this.#device.signal(to, { typing: {} }) };
  }

  async shutdown(): Promise<Answer> {
    await this.#device.close();
    return {};
  }
}

function eventJson(event: ClientEvent): Answer {
  switch (event.type) {
    case "connected":
      return { type: "connected", user: event.user };
    case "disconnected":
      return { type: "disconnected", code: event.code ?? null };
    case "message":
      return { type: "message", message: messageJson(event.message) };
    case "up_to_date":
      return { type: "up_to_date" };
    case "reset":
      return { type: "reset", ...positionJson(event.position), reason: event.reason };
    case "sent":
      return { type: "published", local_id: String(event.localId), message_id: event.messageId === 0n ? null : String(event.messageId) };
    case "send_failed":
      return { type: "publish_failed", local_id: String(event.localId), code: event.error.code };
    case "stopped":
      return { type: "stopped", code: event.code ?? null, cause: event.cause };
    case "signal":
      return event.signal.typing ? { type: "typing", from: event.signal.from } : { type: "other" };
    default:
      return { type: "other" };
  }
}

const positionJson = ({ log, seq, id }: Position): Answer => ({ channel: log, seq, id: id === 0n ? null : String(id) });

const messageJson = (message: ReceivedMessage): Answer => ({
  id: String(message.id),
  from: message.from ?? null,
  to: message.to ?? null,
  channel: message.channel ?? null,
  local_id: message.localId === undefined ? null : String(message.localId),
  text: message.content.text?.text ?? null,
  position: message.position ? positionJson(message.position) : null,
});

const driver = new Driver();
const operations = driver as unknown as Record<string, (request: Request) => Answer | Promise<Answer>>;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as Request;
  const answer = await Promise.resolve()
    .then(() => operations[request.op]?.(request))
    .catch((error: unknown) => ({ error: { code: error instanceof ImError ? error.code : "unexpected", message: String(error) } }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
