// Builds the driver of the scenarios with esbuild and runs them: `npm run scenarios`. IM_SCENARIOS says where the runner is.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const runner = process.env.IM_SCENARIOS ?? `${root}../../target/debug/scenarios`;
if (!existsSync(runner)) {
  console.error(`${runner} is missing: run \`cargo build --workspace --bins\`, or set IM_SCENARIOS`);
  process.exit(1);
}
const outfile = `${root}build/scenario-driver.mjs`;
await build({
  entryPoints: [`${root}test/scenario-driver.ts`],
  outfile,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  sourcemap: "inline",
  logLevel: "warning",
});
const driver = `${process.execPath} --enable-source-maps ${outfile}`;
// The runner finds the server beside itself.
const { IM_SERVER: _, ...env } = process.env;
process.exit(spawnSync(runner, ["run", "--language", "TypeScript", "--driver", driver, ...process.argv.slice(2)], { stdio: "inherit", env }).status ?? 1);
