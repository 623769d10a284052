import { useConversations } from "@im-sdk/client/react";
import { useEffect, useRef, type ReactNode } from "react";
import { goBack, navigate, pathOf, useRoute } from "../routes";
import { isSame } from "../list/conversation";
import { openDialog } from "./dialogs";

/** The keys that work everywhere. */
export function Shortcuts(): ReactNode {
  const route = useRoute();
  const { conversations } = useConversations();
  const latest = useRef({ route, conversations });
  latest.current = { route, conversations };
  useEffect(() => {
    /** Goes to the conversation above or below, or to the next unread one. */
    const step = (by: 1 | -1, isUnread: boolean): void => {
      const { route: now, conversations: all } = latest.current;
      const at = now.name === "conversation" ? all.findIndex(({ conversation }) => isSame(conversation, now.conversation)) : -1;
      const order = all.map((_, index) => all[(((at === -1 && by === -1 ? 0 : at) + by * (index + 1)) % all.length + all.length) % all.length]);
      const next = order.find((one) => one && (!isUnread || one.unread > 0 || one.state.markedUnread));
      if (next) navigate(pathOf(next.conversation));
    };
    const press = (event: KeyboardEvent): void => {
      const isCommand = event.ctrlKey || event.metaKey;
      const hasDialog = document.querySelector("dialog[open]") !== null;
      if (event.defaultPrevented || event.isComposing) return;
      if (isCommand && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
        event.preventDefault();
        if (!hasDialog) openDialog("switcher");
      } else if (hasDialog) {
        return;
      } else if (event.altKey && !isCommand && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        event.preventDefault();
        step(event.key === "ArrowDown" ? 1 : -1, event.shiftKey);
      } else if ((event.key === "?" || event.key === "？") && !isWriting(event.target)) {
        event.preventDefault();
        openDialog("shortcuts");
      } else if (event.key === "Escape" && latest.current.route.name === "conversation" && latest.current.route.panel) {
        event.preventDefault();
        goBack(pathOf(latest.current.route.conversation));
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
  return null;
}

function isWriting(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input, textarea, select"));
}
