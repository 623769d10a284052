import type { Conversation, ConversationChange } from "@im-sdk/client";
import { useClient, useConversations } from "@im-sdk/client/react";
import type { ReactNode } from "react";
import { Switch } from "../../design";
import { useText } from "../../text";
import { isMuted, isSame } from "../list/conversation";
import { report } from "../people/actions";

/** What the user has set for a conversation. */
export function ConversationSwitches({ conversation }: { readonly conversation: Conversation }): ReactNode {
  const t = useText();
  const client = useClient();
  const state = useConversations().conversations.find((listed) => isSame(listed.conversation, conversation))?.state;
  const mark = (change: ConversationChange): void => report(client.mark(conversation, change));
  return (
    <section>
      <h3>{t("info.notifications")}</h3>
      <Switch label={t("info.mute")} isOn={state !== undefined && isMuted(state)} onChange={(muted) => mark({ muted, mutedUntilMs: 0 })} />
      {conversation.channel !== undefined && (
        <Switch label={t("list.mentionsOnly")} hint={t("info.mentionsOnlyHint")} isOn={state?.mentionsOnly ?? false} onChange={(mentionsOnly) => mark({ mentionsOnly })} />
      )}
      <Switch label={t("info.pin")} isOn={state?.pinned ?? false} onChange={(pinned) => mark({ pinned })} />
    </section>
  );
}
