import type { BrowserContext, Locator, Page } from "playwright-core";

/** The users of the demonstration, as the sign-in page names them. */
export const NAMES = {
  maya: "Maya Lindqvist", jonas: "Jonas Weber", wei: "陈伟", amara: "Amara Okafor", lin: "林小雨", tomas: "Tomás Herrera",
  priya: "Priya Raman", hao: "张浩", sofia: "Sofia Rossi", yuki: "Yuki Tanaka", fang: "方静", ben: "Ben Carter",
} as const;

export type DemoUser = keyof typeof NAMES;

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Somebody in front of a page: what they look at, write and press. */
export class Person {
  /** What the page's console called an error. */
  readonly errors: string[] = [];
  /** Exceptions that nothing in the page caught. */
  readonly exceptions: string[] = [];
  /** The addresses that the page asked for. */
  readonly requests: string[] = [];

  constructor(
    readonly id: DemoUser,
    readonly url: string,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {
    page.on("console", (message) => message.type() === "error" && this.errors.push(`${id}: ${message.text()} (${message.location().url})`));
    page.on("pageerror", (error) => this.exceptions.push(`${id}: ${error.stack ?? error.message}`));
    page.on("request", (request) => this.requests.push(request.url()));
    page.on("websocket", (socket) => this.requests.push(socket.url()));
  }

  /** Signs in on the page that shows who may. */
  async signIn(): Promise<void> {
    await this.button(NAMES[this.id]).click();
    await this.#isShown();
  }

  /** Opens an address of the application, and waits until it is shown. */
  async goTo(path: string): Promise<void> {
    await this.page.goto(this.url + path);
    await this.#isShown();
  }

  /** The link is out of sight until it has the focus, and there in each view. */
  #isShown(): Promise<void> {
    return this.page.getByRole("link", { name: "Skip to the content" }).waitFor({ state: "attached" });
  }

  /** Opens another tab of the same browser. */
  async tab(path: string): Promise<Person> {
    const person = new Person(this.id, this.url, this.context, await this.context.newPage());
    await person.goTo(path);
    return person;
  }

  /** The list of conversations. */
  get list(): Locator {
    return this.page.getByRole("navigation", { name: "Chats" });
  }

  /** A conversation in the list, by the beginning of its name. */
  listed(name: string): Locator {
    const link = this.page.getByRole("link", { name: new RegExp(`^${escaped(name)}`) });
    return this.list.getByRole("listitem").filter({ has: link });
  }

  /** Opens a conversation of the list. */
  async open(name: string): Promise<void> {
    await this.listed(name).getByRole("link").click();
    await this.composer.waitFor();
  }

  get log(): Locator {
    return this.page.getByRole("log", { name: "Messages" });
  }

  get messages(): Locator {
    return this.log.getByRole("article");
  }

  /** The message with a text. */
  message(text: string | RegExp): Locator {
    return this.messages.filter({ hasText: text });
  }

  get composer(): Locator {
    return this.page.getByRole("textbox", { name: "Write a message" });
  }

  /** Writes a message and sends it. It is in the list afterwards, but need not have arrived. */
  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press("Enter");
    await this.message(text).last().waitFor();
  }

  /** Waits until a message is there, with a state if one is given: "Sent", "Read", "Not sent", "Waiting to be sent". */
  async sees(text: string | RegExp, state?: string): Promise<void> {
    const message = this.message(text).last();
    await message.waitFor();
    if (state !== undefined) await message.getByRole("img", { name: state, exact: true }).waitFor();
  }

  /** Opens the menu of a message by the mouse. */
  async menu(text: string | RegExp): Promise<Locator> {
    await this.message(text).last().click({ button: "right" });
    const menu = this.page.getByRole("menu", { name: "Message actions" });
    await menu.waitFor();
    return menu;
  }

  /** Chooses an action of a message. */
  async act(text: string | RegExp, action: string): Promise<void> {
    const menu = await this.menu(text);
    await menu.getByRole("menuitem", { name: action }).first().click();
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, ...(typeof name === "string" && { exact: true }) });
  }

  get toast(): Locator {
    return this.page.getByRole("status");
  }
}
