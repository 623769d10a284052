// Builds the driver of the scenarios with esbuild and runs them: `npm run scenarios`. IM_SCENARIOS says where the runner is.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { bundle, root } from "./bundle.mjs";

const runner = process.env.IM_SCENARIOS ?? `${root}../../target/debug/scenarios`;
if (!existsSync(runner)) {
  console.error(`${runner} is missing: run \`cargo build --workspace --bins\`, or set IM_SCENARIOS`);
  process.exit(1);
}
const [program] = await bundle(["scenario-driver.ts"]);
const driver = `${process.execPath} --enable-source-maps ${program}`;
// The runner finds the server beside itself.
const { IM_SERVER: _, ...env } = process.env;
process.exit(spawnSync(runner, ["run", "--language", "TypeScript", "--driver", driver, ...process.argv.slice(2)], { stdio: "inherit", env }).status ?? 1);
