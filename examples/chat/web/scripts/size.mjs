// Checks what the first view loads: the scripts of index.html and all that they import at once.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT = 200 * 1024;
const root = process.argv[2] ?? "dist";
const page = readFileSync(join(root, "index.html"), "utf8");
const waiting = [...page.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)].map(([, path]) => path);
const loaded = new Map();
while (waiting.length > 0) {
  const path = waiting.pop();
  if (loaded.has(path)) continue;
  const text = readFileSync(join(root, path), "utf8");
  loaded.set(path, gzipSync(text, { level: 9 }).length);
  for (const [, name] of text.matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) waiting.push(`assets/${name}`);
}
const total = [...loaded.values()].reduce((sum, bytes) => sum + bytes, 0);
console.log(`first load: ${(total / 1024).toFixed(1)} KB of gzipped JavaScript in ${loaded.size} files, at most ${LIMIT / 1024} KB`);
process.exit(total > LIMIT ? 1 : 0);
