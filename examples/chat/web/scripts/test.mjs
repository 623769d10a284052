// Bundles the unit tests, which import as the bundler resolves, and runs them in Node.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

// Those in test/browser need a browser, and a run of their own.
const tests = ["src", "test"]
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((path) => join(folder, path)))
  .filter((path) => /\.test\.tsx?$/.test(path) && !path.includes("browser"));
rmSync("build", { recursive: true, force: true });
await build({
  entryPoints: tests,
  outbase: ".",
  outdir: "build",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "bundle",
  loader: { ".css": "empty" },
});
const files = readdirSync("build", { recursive: true }).filter((path) => path.endsWith(".test.mjs"));
const { status } = spawnSync(process.execPath, ["--test", "--test-timeout=60000", ...files.map((path) => join("build", path))], { stdio: "inherit" });
process.exit(status ?? 1);
