import type { Conversation, MessageId } from "@im-sdk/client";
import { goBack, navigate, pathOf, useRoute } from "../../app/routes";

/** What is shown beside the messages. */
export type Panel = { readonly kind: "search" } | { readonly kind: "pins" } | { readonly kind: "thread"; readonly root: MessageId };

/** Opens a panel. It has an address, so that going back closes it. */
export function openPanel(conversation: Conversation, panel: Panel): void {
  const thread = panel.kind === "thread" ? `&root=${panel.root}` : "";
  navigate(`${pathOf(conversation)}?panel=${panel.kind}${thread}`, { replace: panelOf(location.search) !== undefined });
}

export function closePanel(conversation: Conversation): void {
  goBack(pathOf(conversation));
}

/** Returns the panel that the address names. */
export function usePanel(): Panel | undefined {
  useRoute();
  return panelOf(location.search);
}

function panelOf(search: string): Panel | undefined {
  const query = new URLSearchParams(search);
  const kind = query.get("panel");
  if (kind === "search" || kind === "pins") return { kind };
  const root = query.get("root") ?? "";
  return kind === "thread" && /^\d{1,19}$/.test(root) ? { kind, root: BigInt(root) } : undefined;
}
