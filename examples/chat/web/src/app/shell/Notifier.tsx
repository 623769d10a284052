import { useClient, useConversations } from "@im-sdk/client/react";
import { useEffect, useRef, type ReactNode } from "react";
import { useText } from "../../text";
import { conversationOfMessage, isMuted, isSame } from "../list/conversation";
import { usePreview } from "../list/preview";
import { currentPreferences } from "../preferences";
import { navigate, pathOf } from "../routes";

/** Shows messages that arrive while nobody looks, if the user wants that. */
export function Notifier(): ReactNode {
  const t = useText();
  const client = useClient();
  const { conversations } = useConversations();
  const preview = usePreview();
  const latest = useRef({ t, conversations, preview });
  latest.current = { t, conversations, preview };
  useEffect(
    () =>
      client.subscribe((event) => {
        if (event.type !== "message" || document.visibilityState === "visible" || !currentPreferences().notifies) return;
        const { message } = event;
        const { content } = message;
        const conversation = conversationOfMessage(message, client.user);
        if (!conversation || message.from === client.user || content.change || content.silent || content.notice || content.custom || !("Notification" in window)) return;
        const { t: translate, conversations: all, preview: show } = latest.current;
        const listed = all.find((one) => isSame(one.conversation, conversation));
        const isMentioned = content.mentions !== undefined && (content.mentions.everybody || content.mentions.users.includes(client.user));
        if (listed && (isMuted(listed.state) || listed.state.mentionsOnly) && !isMentioned) return;
        // Tabs that show the same message replace each other's notification.
        const notification = new Notification(translate("notification.title"), { body: show(content), tag: String(message.id), silent: !currentPreferences().plays, icon: "/favicon.svg" });
        notification.onclick = () => {
          window.focus();
          navigate(pathOf(conversation));
          notification.close();
        };
      }),
    [client],
  );
  return null;
}
