// Builds the page, bundles the browser tests and runs them in Node. Arguments: parts of file names to run.
//
// `CHAT` names the program of the back end, `ASSETS` a page that is built already, `CHROMIUM` and `FIREFOX` the browsers.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { build as buildPage } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = `${root}node_modules/.browser/`;
const wanted = process.argv.slice(2);
const chosen = readdirSync(`${root}test/browser`)
  .filter((file) => file.endsWith(".test.ts"))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));

if (chosen.length === 0) throw new Error(`no test file has any of these in its name: ${wanted.join(", ")}`);

// A name of its own for each run: somebody else may be running them as well.
const run = `${folder}run-${process.pid}/`;
mkdirSync(run, { recursive: true });
process.once("exit", () => rmSync(run, { recursive: true, force: true }));

const assets = process.env.ASSETS ?? `${run}page`;
if (!process.env.ASSETS) await buildPage({ root, logLevel: "error", build: { outDir: assets, emptyOutDir: true } });
// The program may be built anew meanwhile.
const program = `${run}chat`;
copyFileSync(process.env.CHAT ?? `${root}../../../target/debug/chat`, program);
await build({
  entryPoints: chosen.map((file) => `${root}test/browser/${file}`),
  outdir: `${run}tests`,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  external: ["playwright-core", "axe-core"],
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  logLevel: "warning",
  // Packages of Node's older modules ask for `require`.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
});

const files = chosen.map((file) => `${run}tests/${file.replace(/\.ts$/, ".mjs")}`);
const flags = ["--enable-source-maps", "--experimental-websocket", "--no-warnings", "--test", "--test-concurrency=2", "--test-timeout=300000"];
const env = { ...process.env, CHAT: program, ASSETS: assets, PICTURES: `${folder}failures/` };
const { status } = spawnSync(process.execPath, [...flags, ...files], { stdio: "inherit", env });
process.exit(status ?? 1);
