import { Client, type ContentInit, type Conversation } from "@im-sdk/client";
import type { Group, ImToken, Session } from "../../src/api/types";
import type { Program } from "./program";

/** A user of the back end without a browser: for what a test needs but does not look at. */
export class Account {
  readonly #clients: Client[] = [];

  private constructor(
    readonly url: string,
    readonly session: Session,
  ) {}

  static async demo({ url }: Program, id: string): Promise<Account> {
    const body = { id, device_name: "Script" };
    return new Account(url, await call<Session>(url, "POST", "/api/demo/sessions", body));
  }

  get id(): string {
    return this.session.me.id;
  }

  /** Calls the back end's API. */
  api<T>(method: string, path: string, body?: unknown): Promise<T> {
    return call<T>(this.url, method, path, body, this.session.access_token);
  }

  /** Returns the group of a name. */
  async group(name: string): Promise<Group> {
    const { groups } = await this.api<{ groups: Group[] }>("GET", "/api/groups");
    const found = groups.find((group) => group.name === name);
    if (!found) throw new Error(`${this.id} is in no group ${name}`);
    return found;
  }

  createGroup(name: string, ...members: readonly string[]): Promise<Group> {
    return this.api<Group>("POST", "/api/groups", { name, members });
  }

  /** Connects a device. */
  async device(): Promise<Client> {
    const ask = (): Promise<ImToken> => this.api<ImToken>("POST", "/api/im-token", { device: "" });
    const client = await Client.open({ endpoints: async () => (await ask()).endpoints, token: async () => (await ask()).token });
    this.#clients.push(client);
    return client;
  }

  /** Sends messages in their order, and waits until the back end has them. */
  async say(to: Conversation, ...contents: readonly (ContentInit | string)[]): Promise<void> {
    const client = this.#clients[0] ?? (await this.device());
    const outcomes: Promise<unknown>[] = [];
    for (const content of contents) {
      const sent = await client.send(to, content);
      outcomes.push(sent.outcome());
      // What waits to be sent is bounded.
      if (outcomes.length % 200 === 0) await Promise.all(outcomes.splice(0));
    }
    await Promise.all(outcomes);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.close(0);
  }
}

async function call<T>(url: string, method: string, path: string, body?: unknown, token?: string): Promise<T> {
  const headers: Record<string, string> = { "X-Chat": "1" };
  if (token !== undefined) headers["Authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(url + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  if (!answer.ok) throw new Error(`${method} ${path} gave ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}
