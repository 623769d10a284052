// Fails where the client, minified and gzipped, is larger than it may be.
import { gzipSync } from "node:zlib";
import { existsSync } from "node:fs";
import { build } from "esbuild";

const LIMIT = 30 * 1024;
const root = new URL("..", import.meta.url).pathname;

async function measure(name, entry) {
  const { outputFiles } = await build({
    entryPoints: [`${root}src/${entry}`],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    external: ["react"],
  });
  const [{ contents }] = outputFiles;
  const bytes = gzipSync(contents, { level: 9 }).length;
  console.log(`${name}: ${(contents.length / 1024).toFixed(1)} KB minified, ${(bytes / 1024).toFixed(1)} KB gzipped, of ${LIMIT / 1024} KB`);
  if (bytes > LIMIT) {
    console.error(`${name} is ${bytes - LIMIT} bytes too large: see what grew with esbuild's --analyze`);
    process.exitCode = 1;
  }
}

await measure("@im-sdk/client", "index.ts");
if (existsSync(`${root}src/react.ts`)) await measure("@im-sdk/client/react, without what it shares with the client", "react.ts");
