// Runs the tests of this folder that need no browser: `node test/run.mjs`. Vite compiles them as it compiles the application.
import { spawnSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = fileURLToPath(new URL(".", import.meta.url));
const outDir = fileURLToPath(new URL("../node_modules/.tests/", import.meta.url));
const files = (await readdir(here, { recursive: true })).filter((file) => file.endsWith(".test.ts") && !file.startsWith("browser"));
const input = Object.fromEntries(files.map((file) => [basename(file, ".ts"), here + file]));
await build({ configFile: false, logLevel: "error", ssr: { noExternal: true }, build: { ssr: true, outDir, emptyOutDir: true, rolldownOptions: { input, output: { entryFileNames: "[name].mjs" } } } });
const { status } = spawnSync(process.execPath, ["--test", ...Object.keys(input).map((name) => `${outDir}${name}.mjs`)], { stdio: "inherit" });
process.exit(status ?? 1);
