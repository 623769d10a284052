import { scenario, setUp } from "./stage";

setUp();

scenario("a group: created, joined, managed and left", async (stage) => {
  const [maya, wei, hao] = await Promise.all([stage.signIn("maya"), stage.signIn("wei"), stage.signIn("hao")]);
  await maya.button("New").click();
  await maya.page.getByRole("menuitem", { name: "New group" }).click();
  const dialog = maya.page.getByRole("dialog", { name: "New group" });
  await dialog.getByRole("textbox", { name: "Name of the group" }).fill("Rooftop garden");
  await dialog.getByRole("checkbox", { name: "陈伟" }).check();
  await dialog.getByRole("button", { name: "Create with 1 friend" }).click();
  await maya.page.getByRole("heading", { name: "Rooftop garden" }).first().waitFor();
  await maya.log.getByText(/created the group Rooftop garden/).waitFor();
  await wei.open("Rooftop garden");
  await wei.say("Tomatoes?");
  await maya.sees("Tomatoes?");

  // Inviting somebody.
  await maya.button(/Details$/).click();
  const panel = maya.page.getByRole("complementary", { name: "Details" });
  await panel.getByRole("button", { name: "Invite" }).click();
  const picker = maya.page.getByRole("dialog", { name: "Invite" });
  await picker.getByRole("checkbox", { name: "张浩" }).check();
  await picker.getByRole("button", { name: "Invite 1 friend" }).click();
  await hao.open("Rooftop garden");
  await maya.log.getByText(/added 张浩/).waitFor();

  // A role.
  const manage = async (name: string, action: string): Promise<void> => {
    await panel.getByRole("button", { name: `Actions for ${name}` }).click();
    await maya.page.getByRole("menuitem", { name: action }).click();
  };
  await manage("陈伟", "Make an admin");
  await panel.getByRole("listitem").filter({ hasText: "陈伟" }).getByText("Admin", { exact: true }).waitFor();
  await hao.log.getByText(/made 陈伟 admin/).waitFor();

  // A member who may not write sees why, and may again.
  await manage("张浩", "Silence for 1 hour");
  await hao.page.getByText(/You are muted until/).waitFor();
  await hao.composer.waitFor({ state: "detached" });
  await manage("张浩", "Let write again");
  await hao.composer.waitFor();
  await panel.getByRole("switch", { name: /Only admins may write/ }).click();
  await hao.page.getByText("Only admins can write here right now.").waitFor();
  await wei.say("Admins may");
  await hao.sees("Admins may");

  // Leaving.
  await hao.button(/Details$/).click();
  await hao.button("Leave the group").click();
  await hao.page.getByRole("dialog", { name: "Leave Rooftop garden?" }).getByRole("button", { name: "Leave the group" }).click();
  await hao.listed("Rooftop garden").waitFor({ state: "detached" });
  await maya.log.getByText(/张浩 left/).waitFor();
  await panel.getByRole("listitem").filter({ hasText: "张浩" }).waitFor({ state: "detached" });
});

scenario("a refused message says why, and is sent once it may be", async (stage) => {
  const [ben, jonas] = [await stage.signIn("ben", { path: "/c/u/jonas" }), await stage.account("jonas")];
  await ben.say("Hello, may I ask something?");
  await ben.sees("Hello, may I ask something?", "Not sent");
  await ben.page.getByRole("alert").filter({ hasText: /not friends/i }).waitFor();
  await jonas.api("POST", "/api/friends/ben", { text: "Hi" });
  await (await stage.account("ben")).api("POST", "/api/friends/jonas", { text: "Hi" });
  await ben.button("Try again").click();
  await ben.sees("Hello, may I ask something?", "Sent");
});

scenario("a link lets somebody join", async (stage) => {
  const lin = await stage.account("lin");
  const group = await lin.createGroup("Sketching", "amara");
  const { link } = await lin.api<{ link: string }>("POST", `/api/groups/${group.id}/link`);
  const ben = await stage.signIn("ben", { path: `/join/${link}` });
  await ben.page.getByRole("heading", { name: "Sketching" }).waitFor();
  await ben.page.getByRole("main").getByRole("button", { name: "Join" }).click();
  await ben.say("Hello everybody");
  await ben.sees("Hello everybody", "Sent");
});
