import type { Conversation } from "@im-sdk/client";
import { useConversations } from "@im-sdk/client/react";
import { useState, type ReactNode } from "react";
import { errorText, useFriends, useGroups, useNames } from "../../api";
import { Avatar, Button, Dialog, Switch, TextField, useToast } from "../../design";
import { useText } from "../../text";
import { rank } from "../composer/completion";
import { forwardedEntry, withoutReferences } from "../content";
import { keyOf } from "../key";
import { usePane } from "../pane/context";
import { withoutControls } from "../richtext/bidi";
import type { MessageView } from "../window/entries";
import styles from "./panels.module.css";

interface Target {
  readonly conversation: Conversation;
  readonly name: string;
  readonly avatar: string | null | undefined;
}

const MOST = 40;

/** Sends messages on to other conversations, one by one or as a bundle. */
export default function ForwardDialog({ messages, onClose }: { readonly messages: readonly MessageView[]; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const pane = usePane();
  const toast = useToast();
  const targets = useTargets();
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [isBundle, setBundle] = useState(messages.length > 1);
  const [isBusy, setBusy] = useState(false);
  const names = useNames([...new Set(messages.flatMap(({ from }) => from ?? []))]);
  const shown = targets.filter(({ name, conversation }) => query === "" || rank(query.trim(), name, conversation.user ?? "") > 0).slice(0, MOST);

  const send = async (): Promise<void> => {
    setBusy(true);
    const here = targets.find(({ conversation }) => keyOf(conversation) === pane.key)?.name ?? "";
    const entries = messages.map((message) => forwardedEntry(message, pane.conversation, names.get(message.from ?? "") ?? ""));
    const contents = isBundle ? [{ forwarded: { title: t("chat.bundleTitle", { name: here }), entries } }] : messages.flatMap(({ content }) => (content ? [withoutReferences(content)] : []));
    try {
      for (const { conversation } of targets.filter(({ conversation }) => chosen.has(keyOf(conversation)))) {
        for (const content of contents) await pane.client.send(conversation, content);
      }
      toast(t("chat.forwardDone"), { kind: "ok" });
      onClose();
      void pane.window.refresh();
    } catch (error) {
      toast(errorText(error), { kind: "danger" });
      setBusy(false);
    }
  };

  const toggle = (key: string): void => {
    const next = new Set(chosen);
    if (!next.delete(key)) next.add(key);
    setChosen(next);
  };

  return (
    <Dialog
      title={t("chat.forwardTitle", { count: messages.length })}
      closeLabel={t("close")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" disabled={chosen.size === 0} isBusy={isBusy} onClick={() => void send()}>
            {t("chat.forwardTo", { count: chosen.size })}
          </Button>
        </>
      }
    >
      <TextField label={t("chat.forwardSearch")} isLabelHidden icon="search" placeholder={t("chat.forwardSearch")} value={query} autoFocus onChange={({ target }) => setQuery(target.value)} />
      {messages.length > 1 && <Switch label={t("chat.forwardTogether")} isOn={isBundle} onChange={setBundle} />}
      <ul className={styles.targets}>
        {shown.map(({ conversation, name, avatar }) => {
          const key = keyOf(conversation);
          return (
            <li key={key}>
              <label className={styles.target}>
                <Avatar id={conversation.user ?? conversation.channel} name={name} file={avatar} size={36} />
                <bdi>{name}</bdi>
                <input type="checkbox" checked={chosen.has(key)} onChange={() => toggle(key)} />
              </label>
            </li>
          );
        })}
      </ul>
    </Dialog>
  );
}

/** Returns where one can write to: the list of conversations first, then other groups and friends. */
function useTargets(): readonly Target[] {
  const { conversations } = useConversations();
  const groups = useGroups().value ?? [];
  const friends = useFriends()?.friends ?? [];
  const listed = conversations.map(({ conversation }) => conversation);
  const names = useNames(listed.flatMap(({ user }) => user ?? []));
  const group = new Map(groups.map((entry) => [entry.id, entry]));
  const users = new Map(friends.map(({ user }) => [user.id, user]));
  const all: readonly Conversation[] = [...listed, ...groups.map(({ id }) => ({ channel: id })), ...friends.map(({ user }) => ({ user: user.id }))];
  const unique = new Map(all.map((conversation) => [keyOf(conversation), conversation]));
  return [...unique.values()].map((conversation) => {
    const { user, channel } = conversation;
    const name = user === undefined ? group.get(channel)?.my_remark || group.get(channel)?.name || channel : (names.get(user) ?? users.get(user)?.name ?? user);
    return { conversation, name: withoutControls(name), avatar: user === undefined ? group.get(channel)?.avatar : users.get(user)?.avatar };
  });
}
