// Measures the page, on a machine that does nothing else: `npm run measure [MESSAGES] [PEOPLE] [MINUTES]`.
//
// - from the press of Enter in one browser to the message on the screen of another one
// - the first view after a reload, on a CPU that is slowed down to a quarter
// - while simulated people chat: the longest pauses of the page, and what it takes of memory
//
// CHAT names the program, by default a release build.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("..", import.meta.url));
const [messages = 1000, people = 200, minutes = 10] = process.argv.slice(2).map(Number);
const program = process.env.CHAT ?? `${root}../../../target/release/chat`;
const data = mkdtempSync(join(tmpdir(), "chat-"));
const quantile = (values, part) => [...values].sort((one, other) => one - other)[Math.min(values.length - 1, Math.floor(values.length * part))];

const start = (args) =>
  new Promise((resolve, reject) => {
    const child = spawn(program, ["--demo", "--listen", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--data", data, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    child.once("exit", () => reject(new Error(`${program} has ended`)));
    createInterface({ input: child.stdout }).on("line", (line) => line.startsWith("open ") && resolve({ child, address: line.slice(5) }));
  });

const signIn = async (browser, address, name, conversation) => {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  await page.goto(address);
  await page.getByText(name).first().click();
  await page.getByText(conversation).first().click();
  await page.getByRole("log").first().waitFor();
  return page;
};

/** Milliseconds from Enter to the other screen. */
async function latency(browser, address) {
  const from = await signIn(browser, address, "Maya Lindqvist", "Jonas Weber");
  const to = await signIn(browser, address, "Jonas Weber", "Maya Lindqvist");
  const taken = [];
  const box = from.getByRole("textbox").last();
  for (let number = 0; number < messages; number++) {
    const text = `measured-${number}`;
    const shown = to.evaluate(
      (text) =>
        new Promise((resolve) => {
          const look = () => {
            if (!document.querySelector("[role=log]")?.textContent?.includes(text)) return;
            observer.disconnect();
            // Behind the frame that shows it.
            requestAnimationFrame(() => setTimeout(() => resolve(performance.timeOrigin + performance.now())));
          };
          const observer = new MutationObserver(look);
          observer.observe(document.body, { subtree: true, childList: true, characterData: true });
          look();
        }),
      text,
    );
    await box.fill(text);
    const pressed = await box.evaluate((element) => {
      const at = performance.timeOrigin + performance.now();
      element.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", code: "Enter", keyCode: 13, bubbles: true, cancelable: true }));
      return at;
    });
    taken.push((await shown) - pressed);
  }
  return { p50: quantile(taken, 0.5), p99: quantile(taken, 0.99) };
}

/** Milliseconds from a reload to the list of conversations. */
async function firstView(browser, address) {
  const page = await signIn(browser, address, "Amara Okafor", "Launch in spring");
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: 4 });
  const taken = [];
  for (let round = 0; round < 5; round++) {
    const begun = Date.now();
    await page.reload({ waitUntil: "commit" });
    await page.getByText("Launch in spring").first().waitFor();
    taken.push(Date.now() - begun);
  }
  return quantile(taken, 0.5);
}

/** The longest pauses between frames, and the heap at the beginning and at the end, while others chat. */
async function aliveness(browser, address) {
  const page = await signIn(browser, address, "Maya Lindqvist", "Town square");
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.enable");
  const heap = async () => {
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize / 2 ** 20;
  };
  const before = await heap();
  const pauses = await page.evaluate(
    (length) =>
      new Promise((resolve) => {
        const pauses = [];
        let last = performance.now();
        const end = last + length;
        const frame = (at) => {
          pauses.push(at - last);
          last = at;
          if (at < end) requestAnimationFrame(frame);
          else resolve(pauses);
        };
        requestAnimationFrame(frame);
      }),
    minutes * 60_000,
  );
  return { longest: Math.max(...pauses), over100: pauses.filter((pause) => pause > 100).length, frames: pauses.length, before, after: await heap() };
}

let running;
try {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  running = await start([]);
  const { p50, p99 } = await latency(browser, running.address);
  console.log(`from Enter to the other screen, ${messages} messages: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`);
  console.log(`first view after a reload, CPU slowed 4 times: ${await firstView(browser, running.address)} ms`);
  running.child.removeAllListeners("exit");
  running.child.kill();
  await new Promise((resolve) => running.child.once("exit", resolve));
  running = await start(["--simulate", String(people)]);
  const { longest, over100, frames, before, after } = await aliveness(browser, running.address);
  console.log(
    `${people} people chat for ${minutes} min: longest pause ${longest.toFixed(0)} ms, ${over100} of ${frames} frames over 100 ms; ` +
      `heap ${before.toFixed(1)} MB at first, ${after.toFixed(1)} MB at the end`,
  );
  await browser.close();
} finally {
  running?.child.removeAllListeners("exit");
  running?.child.kill();
  rmSync(data, { recursive: true, force: true });
}
