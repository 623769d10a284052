import { spawn, type ChildProcess } from "node:child_process";
import { createHmac } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { Client, webSocket, type ClientEvent, type ClientOptions, type ReceivedMessage } from "../src/index.js";

const binary = (variable: string, name: string): string => {
  const path = process.env[variable] ?? `../../target/debug/${name}`;
  if (!existsSync(path)) throw new Error(`${path} is missing: run \`cargo build --workspace --bins\`, or set ${variable} to where ${name} is`);
  return path;
};

const base64 = (value: string | Buffer): string => Buffer.from(value).toString("base64url");

/** Mints a token as a back end does. */
export function mint(user: string, secret: string, issuer: string, seconds: number): string {
  const header = base64(JSON.stringify({ alg: "HS256", kid: "dev", typ: "JWT" }));
  const now = Math.floor(Date.now() / 1000);
  const claims = base64(JSON.stringify({ sub: user, iss: issuer, aud: "im", iat: now, exp: now + seconds }));
  return `${header}.${claims}.${base64(createHmac("sha256", secret).update(`${header}.${claims}`).digest())}`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A server with a back end that keeps everything: `cli-chat serve`, which can be killed and started again. */
export class TestServer {
  #child: ChildProcess | undefined;
  readonly #data = mkdtempSync(join(tmpdir(), "im-web-"));
  #output = "";
  private constructor(readonly port: number) {}

  static async start(): Promise<TestServer> {
    const server = new TestServer(await freePort());
    await server.start();
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const child = spawn(binary("IM_CLI_CHAT", "cli-chat"), ["serve", "--listen", `127.0.0.1:${this.port}`, "--data", this.#data], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    process.once("exit", () => child.kill("SIGKILL"));
    child.stdout.on("data", (text) => (this.#output += text));
    child.stderr.on("data", (text) => (this.#output += text));
    for (let tries = 0; tries < 200; tries++) {
      if (child.exitCode !== null) throw new Error(`the server ended: ${this.#output}`);
      const open = await new Promise<boolean>((resolve) => {
        const socket = new WebSocket(this.url, ["im.v1"]);
        socket.on("open", () => (socket.terminate(), resolve(true)));
        socket.on("error", () => resolve(false));
      });
      if (open) return;
      await sleep(50);
    }
    throw new Error(`the server did not listen within 10 s: ${this.#output}`);
  }

  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#data, { recursive: true, force: true });
  }

  token(user: string, seconds = 3600): string {
    const secret = /^secret (.*)$/m.exec(readFileSync(join(this.#data, "server.dev"), "utf8"))?.[1] ?? "";
    return mint(user, secret, "cli-chat", seconds);
  }

  open(user: string, options: Partial<ClientOptions> = {}): Promise<Client> {
    return Client.open({ endpoints: [this.url], token: () => this.token(user), socket: webSocket(WebSocket), ...options });
  }
}

/** Collects a client's events, and waits for some of them. */
export class Recorder {
  readonly events: ClientEvent[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(readonly client: Client) {
    client.subscribe((event) => {
      this.events.push(event);
      for (const waiter of this.#waiters) waiter();
    });
  }

  get messages(): ReceivedMessage[] {
    return this.events.flatMap((event) => (event.type === "message" ? [event.message] : []));
  }

  get texts(): string[] {
    return this.messages.map((message) => message.content.text?.text ?? "");
  }

  async until(condition: () => boolean, what: string, ms = 10_000): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${what} did not happen within ${ms} ms; events: ${JSON.stringify(this.events, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)).slice(0, 2000)}`)), ms);
      const waiter = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve();
      };
      this.#waiters.add(waiter);
    });
  }

  count(type: ClientEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  async connected(times = 1): Promise<void> {
    await this.until(() => this.count("up_to_date") >= times, `${times} connections`);
  }
}
