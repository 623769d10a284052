import type { ReceivedMessage } from "@im-sdk/client";
import { invalidate } from "./cache";
import { users } from "./people";
import { reloadMe } from "./session";
import type { Changed } from "./types";

/** Loads anew what a push of the back end says has changed. Returns whether the message was such a push. */
export function applyPush({ content }: ReceivedMessage): boolean {
  if (content.custom?.kind !== "chat.changed") return false;
  const { what, id } = JSON.parse(new TextDecoder().decode(content.custom.data)) as Changed;
  if (what === "me") void reloadMe().catch(() => undefined);
  else invalidate(what);
  // Requests to this user are with the friends, those to a group by their group.
  if (what === "requests") invalidate("friends");
  if (what === "groups") invalidate(`members/${id ?? ""}`);
  if (id !== undefined) users.invalidate([id]);
  return true;
}

/** Loads anew what is in use, as after a time without a connection: pushes were missed. */
export function reloadAll(): void {
  invalidate("");
  users.invalidate();
  void reloadMe().catch(() => undefined);
}
