import type { ChildProcess } from "node:child_process";
import { WebSocket } from "ws";

interface Answer {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: unknown;
  readonly message?: string;
}

const ANSWER_MS = 45_000;

/** A connection to a browser's remote agent: the DevTools protocol and WebDriver BiDi have the same envelope. */
export class Remote {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  #lastId = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => this.#receive(JSON.parse(String(data)) as Answer));
    socket.on("close", () => this.#fail(new Error("the browser has ended")));
    socket.on("error", () => {});
  }

  static async connect(url: string): Promise<Remote> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    return new Remote(socket);
  }

  /** Calls a method. What is in `more` stands beside it, such as a session. */
  call<T>(method: string, params: object = {}, more: object = {}): Promise<T> {
    const id = ++this.#lastId;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new Error(`${method} ${JSON.stringify(params).slice(0, 300)} took longer than ${ANSWER_MS / 1000} s`));
      }, ANSWER_MS);
      const settle = (): void => clearTimeout(timer);
      this.#pending.set(id, {
        resolve: (result) => (settle(), resolve(result as T)),
        reject: (error) => (settle(), reject(new Error(`${method} failed: ${error.message}`))),
      });
      this.#socket.send(JSON.stringify({ id, method, params, ...more }));
    });
  }

  close(): void {
    this.#socket.terminate();
  }

  #receive({ id, result, error, message }: Answer): void {
    if (id === undefined) return;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) pending?.resolve(result);
    else pending?.reject(new Error(`${JSON.stringify(error)} ${message ?? ""}`));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

const START_MS = 60_000;

/** Resolves to what a browser says on its standard error that matches: where its remote agent listens. */
export function announced(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = "";
    const fail = (what: string): void => reject(new Error(`the browser ${what}; it printed: ${printed.slice(-2000)}`));
    const timer = setTimeout(() => fail(`did not start within ${START_MS / 1000} s`), START_MS);
    child.once("error", (error) => fail(`cannot be started (${error.message})`));
    child.once("exit", (code) => fail(`ended with ${code}`));
    child.stderr?.on("data", (text) => {
      printed += text;
      const found = pattern.exec(printed)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
}
