/** Runs in the page: opens the client, and notes what the application is told. Tests call it over the browser's remote agent. */
import { Client, IndexedDbStore, type ClientOptions, type Conversation } from "../../src/index.js";
import type { Entry } from "../checker.js";

const entries: Entry[] = [];
const types: string[] = [];
const outcomes: Promise<unknown>[] = [];
const waiters = new Set<() => void>();
let client: Client;

async function open(user: string, endpoint: string, options: Partial<ClientOptions> = {}): Promise<void> {
  const store = await IndexedDbStore.open(user);
  client = await Client.open({ endpoints: [endpoint], token: async () => (await fetch(`/token/${user}`)).text(), store, ...options });
  client.onState(wake);
  client.subscribe((event) => {
    types.push(event.type);
    if (event.type === "message") {
      const { position, content, localId, channel = "" } = event.message;
      if (position) entries.push({ type: "message", log: position.log, seq: position.seq, text: content.text?.text ?? "", localId });
      else if (channel) entries.push({ type: "message", log: `room ${channel}`, seq: event.message.seq, text: content.text?.text ?? "" });
    }
    if (event.type === "reset") entries.push({ type: "reset", log: event.position.log, seq: event.position.seq, reason: event.reason });
    wake();
  });
}

function wake(): void {
  for (const waiter of waiters) waiter();
}

/** Resolves when something holds; it is looked at after each event. */
function until(condition: () => unknown, what: string, ms = 30_000): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      clearInterval(poll);
      waiters.delete(waiter);
    };
    const waiter = (): void => {
      if (!condition()) return;
      end();
      resolve();
    };
    const timer = setTimeout(() => {
      end();
      reject(new Error(`${what} did not happen within ${ms} ms; state ${client.state}; ${types.join(" ")}; ${JSON.stringify(entries.slice(-20))}`));
    }, ms);
    const poll = setInterval(waiter, 100);
    waiters.add(waiter);
    waiter();
  });
}

/** Sends texts one after the other; resolves when the store has them. */
async function send(to: Conversation, texts: readonly string[]): Promise<number[]> {
  const localIds: number[] = [];
  for (const text of texts) {
    const sent = await client.send(to, text);
    localIds.push(sent.localId);
    const outcome = sent.outcome();
    outcome.catch(() => {});
    outcomes.push(outcome);
  }
  return localIds;
}

/**
 * Resolves when what was saved so far is on the disk: transactions go one after the other. A page that is stopped in the middle of one
 * keeps the other tabs waiting; browsers freeze no page there.
 */
function saved(user: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(`im-sdk:${user}`);
    opening.onerror = () => reject(opening.error ?? new Error("not opened"));
    opening.onsuccess = () => {
      const transaction = opening.result.transaction([...opening.result.objectStoreNames], "readwrite");
      transaction.oncomplete = () => (opening.result.close(), resolve());
    };
  });
}

const page = {
  open,
  saved,
  until,
  send,
  entries,
  types,
  get client() {
    return client;
  },
  texts: () => entries.flatMap((entry) => (entry.type === "message" ? [entry.text] : [])),
  settled: () => Promise.all(outcomes).then((all) => all.length),
};

export type Page = typeof page;
(globalThis as { im?: Page }).im = page;
