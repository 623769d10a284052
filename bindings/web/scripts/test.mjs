// Builds the tests with esbuild and runs them with Node's own runner. Arguments: parts of file names to run.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const wanted = process.argv.slice(2);
const files = readdirSync(`${root}test`).filter((file) => /\.test\.tsx?$/.test(file));
const chosen = files.filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
rmSync(`${root}build`, { recursive: true, force: true });
await build({
  entryPoints: chosen.map((file) => `${root}test/${file}`),
  outdir: `${root}build`,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  jsx: "automatic",
  outExtension: { ".js": ".mjs" },
  logLevel: "warning",
});
const built = chosen.map((file) => `${root}build/${file.replace(/\.tsx?$/, ".mjs")}`);
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-timeout=300000", ...built], { stdio: "inherit" });
process.exit(run.status ?? 1);
