import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Locator } from "playwright-core";
import { picture, sound, store } from "./media";
import type { Person } from "./person";
import { scenario, setUp, until } from "./stage";

setUp();

async function attach({ page }: Person, ...files: Parameters<Locator["setInputFiles"]>[0][]): Promise<void> {
  const opened = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Attach files" }).click();
  await (await opened).setFiles(files.flat() as never);
}

async function download({ page }: Person, link: Locator): Promise<Buffer> {
  const begun = page.waitForEvent("download");
  await link.click();
  return readFile(await (await begun).path());
}

scenario("a picture: uploaded, shown small, shown large, downloaded", async (stage) => {
  const photo = picture("garden.png", 1200, 800);
  const [maya, lin] = await Promise.all([stage.signIn("maya", { path: "/c/u/lin" }), stage.signIn("lin", { path: "/c/u/maya" })]);
  await attach(maya, photo);
  const tray = maya.page.getByRole("list", { name: "Attachments" });
  await tray.getByText("garden.png").waitFor();
  await maya.composer.fill("The garden in June");
  await maya.button("Send").click();
  await tray.waitFor({ state: "detached" });
  await maya.sees("The garden in June", "Sent");

  const shown = lin.message("The garden in June").getByRole("button", { name: "View picture" });
  await until("the thumbnail is loaded", () => shown.locator("img").evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth > 0));
  assert.ok((await shown.locator("img").evaluate((image: HTMLImageElement) => image.naturalWidth)) < 1200, "it is a small one");
  await shown.click();
  const viewer = lin.page.getByRole("dialog", { name: "Picture" });
  await until("the picture is loaded", () => viewer.locator("img").evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth === 1200));
  const got = await download(lin, viewer.getByRole("link", { name: "Download" }));
  assert.ok(got.length > 0);
  await lin.page.keyboard.press("Escape");
  await viewer.waitFor({ state: "detached" });
});

scenario("a picture reserves its place before it is loaded", async (stage) => {
  const amara = await stage.account("amara");
  const photo = await store(amara, picture("wide.png", 1000, 500));
  const jonas = await stage.signIn("jonas");
  await jonas.page.route("**/files/**", (route) => route.abort());
  await amara.say({ user: "jonas" }, { image: { media: { url: `/files/${photo.id}`, mimeType: photo.type, bytes: photo.bytes, name: photo.name }, width: 1000, height: 500 } });
  await jonas.open("Amara Okafor");
  const place = await jonas.log.getByRole("button", { name: "View picture" }).last().boundingBox();
  assert.ok(place);
  assert.ok(Math.abs(place.width / place.height - 2) < 0.05, `${place.width} x ${place.height}`);
});

scenario("a file is sent and downloaded as it was", async (stage) => {
  const notes = { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("Remember the milk.\n".repeat(1000)) };
  const [wei, hao] = await Promise.all([stage.signIn("wei", { path: "/c/u/hao" }), stage.signIn("hao", { path: "/c/u/wei" })]);
  await attach(wei, notes);
  await wei.button("Send").click();
  const link = hao.log.getByRole("link", { name: "Download notes.txt" });
  await link.waitFor();
  assert.deepEqual(await download(hao, link), notes.buffer);
});

scenario("an upload is cancelled", async (stage) => {
  const priya = await stage.signIn("priya", { path: "/c/u/tomas" });
  // A slow network, so that there is something to cancel.
  await priya.page.route("**/api/files/*", (route) => (route.request().method() === "PATCH" ? undefined : route.continue()));
  const deleted = priya.page.waitForRequest((request) => request.method() === "DELETE" && request.url().includes("/api/files/"));
  await attach(priya, { name: "large.txt", mimeType: "text/plain", buffer: Buffer.alloc(3_000_000, 0x61) });
  const tray = priya.page.getByRole("list", { name: "Attachments" });
  await tray.getByRole("progressbar").waitFor();
  await priya.button("Remove large.txt").click();
  await tray.waitFor({ state: "detached" });
  await deleted;
  await priya.say("Without a file");
  await priya.sees("Without a file", "Sent");
  assert.equal(await priya.log.getByText("large.txt").count(), 0);
});

scenario("a file that is not allowed is refused with a reason", async (stage) => {
  const sofia = await stage.signIn("sofia", { path: "/c/u/yuki" });
  await attach(sofia, { name: "run.exe", mimeType: "application/x-msdownload", buffer: Buffer.from("MZ") });
  const tray = sofia.page.getByRole("list", { name: "Attachments" });
  await tray.getByRole("button", { name: "Upload run.exe again" }).waitFor();
  await sofia.button("Remove run.exe").click();
  await tray.waitFor({ state: "detached" });
});

scenario("a voice note goes on playing while 100 messages come", async (stage) => {
  const tomas = await stage.account("tomas");
  const voice = await store(tomas, sound("voice.wav", 60));
  await tomas.say({ user: "maya" }, { voice: { media: { url: `/files/${voice.id}`, mimeType: voice.type, bytes: voice.bytes, name: voice.name }, durationMs: 60_000 } });
  const maya = await stage.signIn("maya", { path: "/c/u/tomas" });
  await maya.log.getByRole("button", { name: "Play voice note" }).click();
  await maya.log.getByRole("button", { name: "Pause" }).waitFor();
  // The page plays it outside of its row, which goes out of sight.
  await maya.page.evaluate(() => {
    const { prototype } = HTMLMediaElement;
    const { pause } = prototype;
    prototype.pause = function (this: HTMLMediaElement): void {
      document.documentElement.dataset["paused"] = "";
      pause.call(this);
    };
  });
  await tomas.say({ user: "maya" }, ...Array.from({ length: 100 }, (_, index) => `while it plays ${index}`));
  await maya.sees("while it plays 99");
  assert.equal(await maya.page.locator("html").getAttribute("data-paused"), null);
  await maya.page.locator("[data-list=messages]").evaluate((list) => (list.scrollTop = 0));
  await maya.log.getByRole("button", { name: "Pause" }).waitFor();
  await until("it has played on", async () => Number(await maya.log.getByRole("slider", { name: "Position" }).getAttribute("aria-valuenow")) > 0);
});
