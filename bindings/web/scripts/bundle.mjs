// Builds programs for Node from test/ into build/, as modules with the extension .mjs.
import { build } from "esbuild";

export const root = new URL("..", import.meta.url).pathname;

/** Returns the paths of what was built. */
export async function bundle(files) {
  await build({
    entryPoints: files.map((file) => `${root}test/${file}`),
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
  return files.map((file) => `${root}build/${file.replace(/\.tsx?$/, ".mjs")}`);
}
