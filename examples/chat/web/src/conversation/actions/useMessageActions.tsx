import { lazy, Suspense, useMemo, useState, type KeyboardEvent, type ReactNode } from "react";
import { useGroup, useMay } from "../../api";
import { Button, Dialog, Menu, useToast, type Anchor, type MenuItem } from "../../design";
import { useText } from "../../text";
import { textOf } from "../content";
import { usePane } from "../pane/context";
import type { Pane } from "../pane/Pane";
import type { MessageView } from "../window/entries";
import { openPanel } from "../panels/panel";
import styles from "./actions.module.css";
import { useReport } from "./useReport";

const EmojiPicker = lazy(() => import("../emoji/EmojiPicker"));
const ReadersPopover = lazy(() => import("../panels/ReadersPopover"));

/** What can be done with a message. */
export interface MessageActions {
  readonly me: string;
  react(message: MessageView, emoji: string, removed: boolean): void;
  reply(message: MessageView): void;
  edit(message: MessageView): void;
  openThread(message: MessageView): void;
  openMenu(message: MessageView, anchor: Anchor): void;
  openEmoji(message: MessageView, anchor: Anchor): void;
  onKeyDown(event: KeyboardEvent<HTMLElement>, message: MessageView): void;
}

export const QUICK_REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

type Layer =
  | { readonly kind: "menu" | "emoji" | "readers"; readonly message: MessageView; readonly anchor: Anchor }
  | { readonly kind: "recall" | "delete"; readonly message: MessageView };

/** Returns the actions of messages, and the layers that they show. */
export function useMessageActions(pane: Pane): { readonly actions: MessageActions; readonly layers: ReactNode } {
  const [layer, setLayer] = useState<Layer>();
  const report = useReport(pane);
  const actions = useMemo(() => makeActions(pane, setLayer, report), [pane, report]);
  const close = (): void => setLayer(undefined);
  const layers = layer && <Layers layer={layer} actions={actions} setLayer={setLayer} onClose={close} />;
  return { actions, layers };
}

function makeActions(pane: Pane, setLayer: (layer: Layer) => void, report: (work: Promise<unknown>) => void): MessageActions {
  const actions: MessageActions = {
    me: pane.client.user,
    react: (message, emoji, removed) => report(pane.changes.react(message, emoji, removed)),
    reply: (message) => {
      pane.state.set({ replyTo: message, editing: undefined });
      pane.composer?.focus();
    },
    edit: (message) => {
      pane.state.set({ editing: message, replyTo: undefined });
      pane.composer?.focus();
    },
    openThread: (message) => {
      const root = message.content?.thread || message.id;
      openPanel(pane.conversation, { kind: "thread", root });
    },
    openMenu: (message, anchor) => setLayer({ kind: "menu", message, anchor }),
    openEmoji: (message, anchor) => setLayer({ kind: "emoji", message, anchor }),
    onKeyDown: (event, message) => {
      // Keys in what the message contains are its own.
      if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
      const element = event.currentTarget;
      const isOwn = message.from === pane.client.user;
      const keys: Record<string, (() => void) | undefined> = {
        Enter: () => actions.openMenu(message, element),
        ContextMenu: () => actions.openMenu(message, element),
        r: () => actions.reply(message),
        t: () => actions.openThread(message),
        e: isOwn && message.content?.text ? () => actions.edit(message) : undefined,
        "+": () => actions.openEmoji(message, element),
        Escape: () => pane.composer?.focus(),
      };
      const act = keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    },
  };
  return actions;
}

function Layers({ layer, actions, setLayer, onClose }: { readonly layer: Layer; readonly actions: MessageActions; readonly setLayer: (layer: Layer) => void; readonly onClose: () => void }): ReactNode {
  const pane = usePane();
  const { message } = layer;
  switch (layer.kind) {
    case "menu":
      return <MessageMenu message={message} anchor={layer.anchor} actions={actions} setLayer={setLayer} onClose={onClose} />;
    case "emoji":
      return (
        <Suspense>
          <EmojiPicker
            anchor={layer.anchor}
            onClose={onClose}
            onPick={(emoji) => {
              onClose();
              actions.react(message, emoji, false);
            }}
          />
        </Suspense>
      );
    case "readers":
      return (
        <Suspense>
          <ReadersPopover channel={pane.conversation.channel ?? ""} seq={message.seq} anchor={layer.anchor} onClose={onClose} />
        </Suspense>
      );
    default:
      return <Confirm layer={layer} onClose={onClose} />;
  }
}

function Confirm({ layer: { kind, message }, onClose }: { readonly layer: Layer; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const pane = usePane();
  const report = useReport(pane);
  const isRecall = kind === "recall";
  const act = (): void => {
    onClose();
    report(isRecall ? pane.changes.recall(message) : pane.changes.deleteForMe(message));
  };
  return (
    <Dialog
      title={isRecall ? t("chat.recallTitle") : t("chat.deleteTitle")}
      closeLabel={t("close")}
      size="small"
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="danger" autoFocus onClick={act}>
            {isRecall ? t("chat.recall") : t("chat.deleteForMe")}
          </Button>
        </>
      }
    >
      <p>{isRecall ? t("chat.recallText") : t("chat.deleteText")}</p>
    </Dialog>
  );
}

function MessageMenu({ message, anchor, actions, setLayer, onClose }: { readonly message: MessageView; readonly anchor: Anchor; readonly actions: MessageActions; readonly setLayer: (layer: Layer) => void; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const pane = usePane();
  const toast = useToast();
  const report = useReport(pane);
  const group = useGroup(pane.conversation.channel);
  const isOwn = message.from === pane.client.user;
  const text = textOf(message.content);
  const may = useMay(group);
  const mayPin = group === undefined || may("pin");
  const copy = (): void => void navigator.clipboard.writeText(text).then(() => toast(t("chat.copied"), { kind: "ok" }), () => toast(t("chat.notCopied"), { kind: "danger" }));
  const item = (isThere: boolean, entry: MenuItem): MenuItem[] => (isThere ? [entry] : []);
  const items: (MenuItem | undefined)[] = [
    { label: t("chat.reply"), icon: "reply", hint: "R", onSelect: () => actions.reply(message) },
    { label: t("chat.thread"), icon: "thread", hint: "T", onSelect: () => actions.openThread(message) },
    ...item(isOwn && message.content?.text !== undefined, { label: t("chat.edit"), icon: "edit", hint: "E", onSelect: () => actions.edit(message) }),
    ...item(text !== "", { label: t("chat.copy"), icon: "copy", onSelect: copy }),
    ...item(text !== "" && matchMedia("(pointer: coarse)").matches, { label: t("chat.selectText"), icon: "quote", onSelect: () => selectText(message.key) }),
    { label: t("chat.forward"), icon: "forward", onSelect: () => pane.state.set({ forwarding: [message] }) },
    ...item(mayPin, { label: message.isPinned ? t("chat.unpin") : t("chat.pin"), icon: message.isPinned ? "pin-off" : "pin", onSelect: () => report(pane.changes.pin(message, message.isPinned)) }),
    { label: t("chat.select"), icon: "check", onSelect: () => pane.select(message.id) },
    ...item(pane.conversation.channel !== undefined && isOwn, { label: t("chat.readBy"), icon: "eye", onSelect: () => setLayer({ kind: "readers", message, anchor }) }),
    undefined,
    ...item(isOwn || may("recall_any"), { label: t("chat.recall"), icon: "undo", isDanger: true, onSelect: () => setLayer({ kind: "recall", message }) }),
    { label: t("chat.deleteForMe"), icon: "trash", isDanger: true, onSelect: () => setLayer({ kind: "delete", message }) },
  ];
  const own = new Set(message.reactions.filter(({ users }) => users.includes(pane.client.user)).map(({ emoji }) => emoji));
  return (
    <Menu label={t("chat.messageActions")} anchor={anchor} items={items} onClose={onClose}>
      <div className={styles.quick} role="group" aria-label={t("chat.react")}>
        {QUICK_REACTIONS.map((emoji) => (
          <button
            key={emoji}
            type="button"
            className={styles.emoji}
            aria-pressed={own.has(emoji)}
            aria-label={t("chat.reactWith", { emoji })}
            onClick={() => {
              onClose();
              actions.react(message, emoji, own.has(emoji));
            }}
          >
            {emoji}
          </button>
        ))}
        <button type="button" className={styles.emoji} aria-label={t("chat.moreEmoji")} onClick={() => setLayer({ kind: "emoji", message, anchor })}>
          +
        </button>
      </div>
    </Menu>
  );
}

/** Selects a text on a touch screen, where a resting finger opens the menu instead. */
function selectText(key: string): void {
  const bubble = document.querySelector<HTMLElement>(`[data-message="${CSS.escape(key)}"]`);
  if (!bubble) return;
  bubble.dataset["selecting"] = "";
  getSelection()?.selectAllChildren(bubble);
}
