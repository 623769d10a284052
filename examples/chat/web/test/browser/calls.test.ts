import assert from "node:assert/strict";
import { NAMES, type DemoUser, type Person } from "./person";
import { scenario, setUp } from "./stage";

setUp();

/** The window of a call. */
const callWith = ({ page }: Person, user: DemoUser) => page.getByRole("dialog", { name: `Call with ${NAMES[user]}` });
const ringing = ({ page }: Person, user: DemoUser) => page.getByRole("alertdialog").filter({ hasText: NAMES[user] });

scenario("a call is answered and hung up", async (stage) => {
  const [maya, jonas] = await Promise.all([stage.signIn("maya", { path: "/c/u/jonas" }), stage.signIn("jonas", { path: "/c/u/maya" })]);
  await maya.button("Audio call").click();
  await ringing(jonas, "maya").getByRole("button", { name: "Answer" }).click();
  // Its length is counted once it is connected.
  await callWith(maya, "jonas").getByText(/^0:0[1-9]$/).waitFor();
  await callWith(jonas, "maya").getByText(/^0:\d\d$/).waitFor();
  await callWith(jonas, "maya").getByRole("button", { name: "Mute microphone" }).click();
  await callWith(maya, "jonas").getByText("Jonas Weber is muted").waitFor();
  await callWith(jonas, "maya").getByRole("button", { name: "Hang up" }).click();
  await callWith(maya, "jonas").waitFor({ state: "detached" });
  await callWith(jonas, "maya").waitFor({ state: "detached" });
  assert.deepEqual([...maya.errors, ...jonas.errors], []);
});

scenario("a video call shows both pictures", async (stage) => {
  const [wei, hao] = await Promise.all([stage.signIn("wei", { path: "/c/u/hao" }), stage.signIn("hao")]);
  await wei.button("Video call").click();
  await ringing(hao, "wei").getByRole("button", { name: "Answer with video" }).click();
  for (const [person, other] of [[wei, "hao"], [hao, "wei"]] as const) {
    const call = callWith(person, other);
    await call.getByText(/^0:\d\d$/).waitFor();
    await person.page.waitForFunction(() => {
      const videos = [...document.querySelectorAll("dialog video")] as HTMLVideoElement[];
      return videos.length === 2 && videos.every(({ videoWidth, paused }) => videoWidth > 0 && !paused);
    });
  }
  await callWith(wei, "hao").getByRole("button", { name: "Hang up" }).click();
  await callWith(hao, "wei").waitFor({ state: "detached" });
});

scenario("a call is declined", async (stage) => {
  const [amara, lin] = await Promise.all([stage.signIn("amara", { path: "/c/u/lin" }), stage.signIn("lin")]);
  await amara.button("Audio call").click();
  await ringing(lin, "amara").getByRole("button", { name: "Decline" }).click();
  await amara.page.getByText("林小雨 declined the call").waitFor();
  await ringing(lin, "amara").waitFor({ state: "detached" });
});

scenario("a call that is answered stops ringing on the other device", async (stage) => {
  const [tomas, desk, phone] = await Promise.all([stage.signIn("tomas", { path: "/c/u/sofia" }), stage.signIn("sofia"), stage.signIn("sofia")]);
  await tomas.button("Audio call").click();
  await Promise.all([desk, phone].map((device) => ringing(device, "tomas").waitFor()));
  await ringing(desk, "tomas").getByRole("button", { name: "Answer" }).click();
  await phone.page.getByText("Answered on another device").waitFor();
  await ringing(phone, "tomas").waitFor({ state: "detached" });
  await callWith(desk, "tomas").getByText(/^0:\d\d$/).waitFor();
  await callWith(tomas, "sofia").getByRole("button", { name: "Hang up" }).click();
  await callWith(desk, "tomas").waitFor({ state: "detached" });
});

scenario("a call that its caller gives up stops ringing", async (stage) => {
  const [yuki, fang] = await Promise.all([stage.signIn("yuki", { path: "/c/u/fang" }), stage.signIn("fang")]);
  await yuki.button("Audio call").click();
  await ringing(fang, "yuki").waitFor();
  await callWith(yuki, "fang").getByRole("button", { name: "Hang up" }).click();
  await fang.page.getByText("Missed call").first().waitFor();
  await ringing(fang, "yuki").waitFor({ state: "detached" });
});
