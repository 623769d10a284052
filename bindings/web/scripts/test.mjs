// Builds the tests with esbuild and runs them with Node's own runner. Arguments: parts of file names to run.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { bundle, root } from "./bundle.mjs";

const wanted = process.argv.slice(2);
const files = readdirSync(`${root}test`).filter((file) => /\.test\.tsx?$/.test(file));
const chosen = files.filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
rmSync(`${root}build`, { recursive: true, force: true });
const built = await bundle(chosen);
const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-timeout=300000", ...built], { stdio: "inherit" });
process.exit(run.status ?? 1);
