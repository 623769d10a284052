import type { QueuedMessage } from "@im-sdk/client";
import type { MessageView } from "./entries";

/** A row of the list. */
export type Row =
  | { readonly kind: "start"; readonly key: string; readonly isLoading: boolean }
  | { readonly kind: "day"; readonly key: string; readonly at: number }
  | { readonly kind: "unread"; readonly key: string }
  | { readonly kind: "message"; readonly key: string; readonly message: MessageView; readonly isFirst: boolean; readonly isLast: boolean }
  | { readonly kind: "pending"; readonly key: string; readonly queued: QueuedMessage; readonly isFirst: boolean; readonly isLast: boolean };

/** Messages of one author within this time form a group. */
const GROUP_MS = 5 * 60_000;

/** Returns a number for the day of a time, in the time zone of the reader. */
export function dayOf(at: number): number {
  const date = new Date(at);
  return date.getFullYear() * 10_000 + (date.getMonth() + 1) * 100 + date.getDate();
}

/** Returns whether a message is shown as one of its author, rather than as a line of its own. */
export function isBubble({ content, recalled }: MessageView): boolean {
  return !recalled && content?.notice === undefined;
}

/** Returns whether a message is shown at all. Transient ones of the back end only tell the program something. */
export function isShown({ content, recalled }: MessageView): boolean {
  return recalled !== undefined || content?.custom?.kind !== "chat.changed";
}

function continues(above: MessageView, below: MessageView): boolean {
  return above.from === below.from && below.at - above.at < GROUP_MS && dayOf(above.at) === dayOf(below.at) && isBubble(above) && isBubble(below);
}

/** What the rows are made of. */
export interface RowsInput {
  readonly messages: readonly MessageView[];
  readonly pending: readonly QueuedMessage[];
  readonly hasOlder: boolean;
  readonly hasNewer: boolean;
  /** The message before which the line for new messages stands, by its key. */
  readonly newFrom: string | undefined;
  readonly me: string;
}

/** Puts separators between messages, and groups them by author. */
export function rowsOf({ messages, pending, hasOlder, hasNewer, newFrom, me }: RowsInput): Row[] {
  const rows: Row[] = [{ kind: "start", key: "start", isLoading: hasOlder }];
  const shown = messages.filter(isShown);
  shown.forEach((message, index) => {
    const [above, below] = [shown[index - 1], shown[index + 1]];
    const isNewDay = !above || dayOf(above.at) !== dayOf(message.at);
    if (isNewDay) rows.push({ kind: "day", key: `d${dayOf(message.at)}`, at: message.at });
    if (message.key === newFrom) rows.push({ kind: "unread", key: "unread" });
    const isFirst = !above || message.key === newFrom || !continues(above, message);
    const endsAtPending = !below && pending.length > 0 && message.from === me && !hasNewer;
    const isLast = below ? below.key === newFrom || !continues(message, below) : !endsAtPending;
    rows.push({ kind: "message", key: message.key, message, isFirst, isLast });
  });
  // What waits stands at the end, and the end may not be loaded.
  if (hasNewer) return rows;
  const last = shown.at(-1);
  pending.forEach((queued, index) => {
    const isFirst = index === 0 && !(last && last.from === me && isBubble(last));
    rows.push({ kind: "pending", key: `l${queued.localId}`, queued, isFirst, isLast: index === pending.length - 1 });
  });
  return rows;
}
