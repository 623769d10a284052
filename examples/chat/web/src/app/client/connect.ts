import { Client, IndexedDbStore, MemoryStore, SignedOutError, type Store, type TokenRequest } from "@im-sdk/client";
import { api, ApiError, applyPush, reloadAll, resumeSession, type ImToken } from "../../api";

/** A token that came with endpoints serves for the connection that follows. */
const FRESH_MS = 10_000;

/** Asks the back end for tokens. Endpoints come in the same answer. */
class Tokens {
  #unused: { readonly answer: ImToken; readonly at: number } | undefined;
  device = "";

  readonly endpoints = async (): Promise<readonly string[]> => {
    const answer = await this.#ask();
    this.#unused = { answer, at: Date.now() };
    return answer.endpoints;
  };

  readonly token = async ({ reason }: TokenRequest): Promise<string> => {
    const unused = this.#unused;
    this.#unused = undefined;
    if (unused && reason !== "rejected" && Date.now() - unused.at < FRESH_MS) return unused.answer.token;
    return (await this.#ask()).token;
  };

  async #ask(): Promise<ImToken> {
    try {
      return await api.post<ImToken>("/api/im-token", { device: this.device });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) throw new SignedOutError(error.message);
      throw error;
    }
  }
}

/** Opens the client of a user, with what this browser keeps for the account. */
export async function connect(user: string): Promise<Client> {
  const tokens = new Tokens();
  const client = await Client.open({
    endpoints: tokens.endpoints,
    token: tokens.token,
    store: await storeOf(user),
    name: "chat-web/0.1.0",
  });
  tokens.device = client.device.id;
  let wasConnected = false;
  client.subscribe((event) => {
    if (event.type === "message") applyPush(event.message);
    // Somebody may have signed this device out from another one: the back end knows.
    if (event.type === "stopped") void resumeSession();
    if (event.type === "connected") {
      tokens.device = client.device.id;
      if (wasConnected) reloadAll();
      wasConnected = true;
    }
  });
  // The browser knows sooner than a socket that nobody answers on.
  window.addEventListener("online", () => client.wake());
  return client;
}

/** Some private windows have no IndexedDB: there a reload forgets what was not sent. */
async function storeOf(user: string): Promise<Store> {
  return IndexedDbStore.open(user).catch(() => new MemoryStore());
}
