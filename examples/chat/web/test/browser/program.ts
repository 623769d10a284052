import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_MS = 60_000;

/** The chat application in a process of its own, with data of its own. */
export class Program {
  #child: ChildProcess | undefined;
  #url = "";

  private constructor(
    private readonly data: string,
    private readonly listen: string,
    private readonly devices: string,
  ) {}

  /** Starts it with the demonstration. With `keepsPorts`, it is found at the same addresses after a restart. */
  static async start({ keepsPorts = false } = {}): Promise<Program> {
    const [listen, devices] = keepsPorts ? await freePorts() : [0, 0];
    const program = new Program(mkdtempSync(join(tmpdir(), "chat-")), `127.0.0.1:${listen}`, `127.0.0.1:${devices}`);
    await program.restart();
    return program;
  }

  /** The address of the page. */
  get url(): string {
    return this.#url;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  /** Starts it with the data that it had. */
  async restart(): Promise<void> {
    const assets = process.env["ASSETS"] ?? "dist";
    const flags = ["--listen", this.listen, "--devices", this.devices, "--data", this.data, "--demo", "--assets", assets];
    const child = spawn(process.env["CHAT"] ?? "chat", flags, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    process.once("exit", () => child.kill("SIGKILL"));
    this.#url = await printed(child, /open (http:\S+)/);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}

function printed(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const fail = (what: string): void => reject(new Error(`the program ${what}; it printed: ${said.slice(-2000)}`));
    const timer = setTimeout(() => fail(`did not start within ${START_MS / 1000} s`), START_MS);
    child.once("error", (error) => fail(`cannot be started (${error.message})`));
    child.once("exit", (code) => fail(`ended with ${code}`));
    const read = (text: Buffer): void => {
      said += text.toString();
      const found = pattern.exec(said)?.[1];
      if (found === undefined) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
  });
}

/** Returns two ports that were free a moment ago. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()];
  for (const server of servers) await once(server.listen(0, "127.0.0.1"), "listening");
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) await once(server.close(), "close");
  return [ports[0] ?? 0, ports[1] ?? 0];
}
