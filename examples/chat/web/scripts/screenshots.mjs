// Makes the pictures of the README: `npm run screenshots`. Needs Chromium, and fonts for Chinese and emoji, such as Debian's
// fonts-noto-cjk and fonts-noto-color-emoji. CHAT says where the program is.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = process.env.CHAT ?? `${root}../../../target/debug/chat`;
const data = mkdtempSync(join(tmpdir(), "chat-"));
const child = spawn(program, ["--demo", "--listen", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--data", data, "--assets", `${root}dist`], {
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const address = await new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error(`${program} has ended`)));
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("open ") && resolve(line.slice(5)));
  });
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport: { width: 1180, height: 740 }, colorScheme, locale: "en-GB" });
    const page = await context.newPage();
    await page.goto(address);
    await page.getByText("Maya Lindqvist").first().click();
    await page.getByText("Launch in spring").first().click();
    await page.getByText("One command, and it can be repeated.").last().waitFor();
    await page.getByText("Good morning! Nine weeks to go.").last().waitFor();
    await page.screenshot({ path: `${root}../../../docs/chat-${colorScheme}.png` });
    await context.close();
  }
  await browser.close();
} finally {
  child.kill();
  rmSync(data, { recursive: true, force: true });
}
