import type { Client, Conversation, MessageId, ReceivedMessage } from "@im-sdk/client";
import { Entries, type MessageView } from "../window/entries";

/** The number of changes among the kinds of messages. */
const CHANGE = { number: 10 };
const PAGE = 200;
const MOST_PAGES = 10;
const MOST_PINS = 30;

/**
 * Finds the messages that are pinned now. There is no list of them: the changes of the log say which were pinned and let go, the
 * newest first.
 */
export async function loadPins(client: Pick<Client, "user" | "history">, conversation: Conversation): Promise<MessageView[]> {
  const pinned = await pinnedIds(client, conversation);
  const found = await Promise.all(pinned.slice(0, MOST_PINS).map((id) => loadMessage(client, conversation, id)));
  return found.filter((message): message is MessageView => message?.isPinned === true && !message.recalled);
}

async function pinnedIds(client: Pick<Client, "history">, conversation: Conversation): Promise<MessageId[]> {
  const states = new Map<MessageId, { readonly rank: ReceivedMessage; readonly isPinned: boolean }>();
  let before: number | undefined;
  for (let count = 0; count < MOST_PAGES; count++) {
    const page = await client.history(conversation, { raw: true, kinds: [CHANGE], limit: PAGE, ...(before === undefined ? {} : { before }) });
    for (const entry of page.messages) {
      const { change } = entry.content;
      if (!change?.pin) continue;
      const known = states.get(change.messageId);
      const isNewer = !known || (known.rank.content.change?.order ?? 0n) < change.order || (known.rank.content.change?.order === change.order && known.rank.id < entry.id);
      if (isNewer) states.set(change.messageId, { rank: entry, isPinned: !change.pin.removed });
    }
    if (!page.more || page.next === before) break;
    before = page.next;
  }
  return [...states].filter(([, { isPinned }]) => isPinned).sort(([, one], [, other]) => (one.rank.id < other.rank.id ? 1 : -1)).map(([id]) => id);
}

/** Loads one message by its id: what follows the one before it. */
export async function loadMessage(client: Pick<Client, "user" | "history">, conversation: Conversation, id: MessageId): Promise<MessageView | undefined> {
  const older = await client.history(conversation, { beforeId: id, limit: 1 }).catch(() => undefined);
  if (!older) return undefined;
  const page = await client.history(conversation, { after: older.messages.at(-1)?.seq ?? 0, limit: 1 }).catch(() => undefined);
  const entries = new Entries(client.user);
  entries.apply([...(page?.messages ?? []), ...(page?.changes ?? [])]);
  return entries.get(id);
}
