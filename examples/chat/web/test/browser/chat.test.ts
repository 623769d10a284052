import assert from "node:assert/strict";
import { scenario, setUp, until } from "./stage";

setUp();

for (const colorScheme of ["light", "dark"] as const) {
  scenario(`two people chat, ${colorScheme}`, async (stage) => {
    const maya = await stage.visitor("maya", { colorScheme });
    await maya.page.goto(maya.url);
    await maya.signIn();
    await maya.open("Jonas Weber");
    const jonas = await stage.signIn("jonas", { path: "/c/u/maya", colorScheme });

    await maya.say(`The tea is ready, ${colorScheme}.`);
    await jonas.sees(`The tea is ready, ${colorScheme}.`);
    await jonas.say(`On my way, ${colorScheme}!`);
    await maya.sees(`On my way, ${colorScheme}!`);
    // Each message is shown once, in its order.
    for (const { messages } of [maya, jonas]) {
      const texts = await messages.allInnerTexts();
      const places = [`The tea is ready, ${colorScheme}.`, `On my way, ${colorScheme}!`].map((text) => texts.flatMap((shown, index) => (shown.includes(text) ? [index] : [])));
      assert.deepEqual(places.map(({ length }) => length), [1, 1]);
      assert.ok(places.flat()[0]! < places.flat()[1]!);
    }
    assert.deepEqual([...maya.errors, ...jonas.errors], []);
  });
}

scenario("somebody is seen typing, and stops", async (stage) => {
  const [amara, lin] = await Promise.all([stage.signIn("amara", { path: "/c/u/lin" }), stage.signIn("lin", { path: "/c/u/amara" })]);
  await lin.composer.pressSequentially("Let me see");
  await amara.page.getByText("typing…").waitFor();
  await lin.composer.fill("");
  await amara.page.getByText("typing…").waitFor({ state: "hidden" });
});

scenario("a message is pending, sent and read", async (stage) => {
  const hao = await stage.signIn("hao", { path: "/c/u/priya" });
  await hao.say("Can you read this?");
  await hao.sees("Can you read this?", "Sent");
  const priya = await stage.signIn("priya", { path: "/c/u/hao" });
  await priya.sees("Can you read this?");
  await hao.sees("Can you read this?", "Read");
});

scenario("members of a group see who wrote", async (stage) => {
  const [yuki, fang] = await Promise.all([stage.signIn("yuki"), stage.signIn("fang")]);
  await Promise.all([yuki.open("Lunch"), fang.open("Lunch")]);
  await yuki.say("Dumplings today");
  await fang.sees("Dumplings today");
  await fang.message("Dumplings today").filter({ hasText: "Yuki Tanaka" }).waitFor();
  await until("the list shows the author", async () => (await fang.listed("Lunch").innerText()).includes("Yuki Tanaka: Dumplings today"));
});
