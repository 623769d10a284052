import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";

test("the program of the README chats with a development server", async () => {
  const server = process.env["IM_SERVER"] ?? "../../target/debug/im-server";
  assert.ok(existsSync(server), `${server} is missing: run \`cargo build --workspace --bins\`, or set IM_SERVER to where it is`);
  const program = /```js chat\.mjs\n([\s\S]*?)```/.exec(readFileSync("README.md", "utf8"))?.[1];
  assert.ok(program);
  const folder = mkdtempSync(join(process.cwd(), "build", "readme-"));
  const children = [spawn(server, ["--dev", "--websocket-port", "0", "--quic-port", "0"], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "error" } })];
  try {
    const home = join(folder, "node_modules", "@im-sdk", "client");
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, "package.json"), JSON.stringify({ name: "@im-sdk/client", type: "module", exports: "./index.js" }));
    await build({ entryPoints: ["src/index.ts"], outfile: join(home, "index.js"), bundle: true, format: "esm" });
    // A scope of its own: else the name would mean the package that this test is in.
    writeFileSync(join(folder, "package.json"), "{}");
    symlinkSync(join(process.cwd(), "node_modules", "ws"), join(folder, "node_modules", "ws"));
    writeFileSync(join(folder, "chat.mjs"), program);
    const printed = await until(children[0], /ready/);
    const find = (pattern: RegExp): string => pattern.exec(printed)?.[1] ?? "";
    const endpoint = find(/endpoint (ws:\S+)/);
    const chat = (user: string, peer: string): ReturnType<typeof spawn> => {
      const child = spawn(process.execPath, ["chat.mjs", endpoint, find(new RegExp(`token ${user} (\\S+)`)), peer], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
      children.push(child as (typeof children)[0]);
      return child;
    };
    await until(chat("bob", "alice"), /connected as bob/);
    await until(chat("alice", "bob"), /connected as alice[\s\S]*(bob|alice): hello/);
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});

function until(child: ReturnType<typeof spawn> | undefined, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = "";
    const timer = setTimeout(() => reject(new Error(`${String(pattern)} was not printed within 15 s, but: ${printed}`)), 15_000);
    child?.stdout?.on("data", (text) => {
      printed += text;
      if (!pattern.test(printed)) return;
      clearTimeout(timer);
      resolve(printed);
    });
  });
}
