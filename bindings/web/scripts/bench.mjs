// Builds the benchmark with esbuild and runs it: `npm run bench`, on a machine that does nothing else.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const outfile = `${root}build/bench.mjs`;
await build({ entryPoints: [`${root}bench/bench.ts`], outfile, bundle: true, minify: true, platform: "node", format: "esm", target: "node20", logLevel: "warning" });
console.log(`Node ${process.version}`);
process.exit(spawnSync(process.execPath, [outfile], { stdio: "inherit" }).status ?? 1);
