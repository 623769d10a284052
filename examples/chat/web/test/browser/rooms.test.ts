import { scenario, setUp, until } from "./stage";

setUp();

scenario("a live room: messages, watchers and likes", async (stage) => {
  const [sofia, ben] = await Promise.all([stage.signIn("sofia", { path: "/live" }), stage.signIn("ben", { path: "/live" })]);
  for (const [{ page }, count] of [[sofia, 1], [ben, 2]] as const) {
    await page.getByRole("navigation", { name: "Live" }).getByRole("link").first().click();
    await page.getByText(`${count} watching`).waitFor();
  }
  const message = "Greetings from the train";
  await sofia.page.getByRole("textbox", { name: "Message to the room" }).fill(message);
  await sofia.page.getByRole("textbox", { name: "Message to the room" }).press("Enter");
  for (const { page } of [sofia, ben]) await page.getByRole("log", { name: "Messages of the room" }).getByText(message).waitFor();
  const like = ben.button("Like");
  for (let count = 0; count < 5; count++) await like.click();
  for (const { page } of [sofia, ben]) await page.getByText("5 likes").waitFor({ state: "attached" });
  await until("each message is there once", async () => (await sofia.page.getByText(message).count()) === 1);
});
