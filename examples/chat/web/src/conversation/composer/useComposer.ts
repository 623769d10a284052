import type { ContentInit } from "@im-sdk/client";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { errorText, useMe } from "../../api";
import { useToast } from "../../design";
import { useReport } from "../actions/useReport";
import { quoteOf } from "../content";
import { EVERYBODY } from "../names";
import type { Pane } from "../pane/Pane";
import { TypingTeller } from "../read/typing";
import { useStore } from "../store";
import { Drafts } from "./drafts";
import { fileContent, type Attachments, type Uploads } from "./uploads";

/** What fits into a text message. */
export const MOST_BYTES = 64_000;
const TELL_AFTER_MS = 1200;
const isReadyOf = ({ list, isWaiting }: Attachments): boolean => isWaiting && list.every(({ stored }) => stored);

/** A message that is being written. */
export interface ComposerModel {
  readonly text: string;
  readonly tooLong: number;
  setText(text: string): void;
  /** Remembers whom a completed name means. */
  mention(name: string, user: string): void;
  send(): void;
  cancel(): boolean;
}

/** Keeps the text, the draft and the files of a message, and sends them. */
export function useComposer(pane: Pane, uploads: Uploads, shared: string | undefined, thread: bigint): ComposerModel {
  const me = useMe().id;
  const toast = useToast();
  const report = useReport(pane);
  const key = thread === 0n ? pane.key : `${pane.key}/${thread}`;
  const drafts = useMemo(() => new Drafts(me), [me]);
  const typing = useMemo(() => new TypingTeller(pane.client, pane.conversation), [pane]);
  const editing = useSyncExternalStore(pane.state.subscribe, () => (thread === 0n ? pane.state.value.editing : undefined));
  const [draft, setDraft] = useState(() => drafts.text(key, shared));
  const [edited, setEdited] = useState("");
  const mentioned = useRef(new Map<string, string>());
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const text = editing ? edited : draft;
  const tooLong = text.length > MOST_BYTES / 3 ? Math.max(0, Math.ceil((new TextEncoder().encode(text).length - MOST_BYTES) / 3)) : 0;

  // An edit begins with what the message says.
  const [begun, setBegun] = useState(editing);
  if (begun !== editing) {
    setBegun(editing);
    setEdited(editing?.content?.text?.text ?? "");
  }

  const known = useRef(shared);
  const tell = useCallback(() => {
    clearTimeout(timer.current);
    const told = thread === 0n ? drafts.tell(key, known.current) : undefined;
    if (told !== undefined) void pane.client.mark(pane.conversation, { draft: told }).catch(() => undefined);
  }, [drafts, key, pane, thread]);
  // Leaving tells the other devices at once; so does coming back to what was typed just before the page was closed.
  useEffect(() => {
    tell();
    return tell;
  }, [tell]);

  // What another device wrote meanwhile, unless somebody types here. What it has sent is not to be sent again.
  useLayoutEffect(() => {
    if (known.current === shared) return;
    known.current = shared;
    const next = drafts.text(key, shared);
    if (next === "" || !document.activeElement?.matches("textarea")) setDraft(next);
  }, [shared, drafts, key]);

  const write = useCallback(
    (next: string) => {
      setDraft(next);
      drafts.keep(key, next, thread === 0n ? known.current : undefined);
      clearTimeout(timer.current);
      timer.current = setTimeout(tell, TELL_AFTER_MS);
    },
    [drafts, key, tell, thread],
  );

  const setText = (next: string): void => {
    if (editing) return setEdited(next);
    write(next);
    if (next !== "") typing.typed();
    else typing.stopped();
  };

  const sendAll = (contents: readonly ContentInit[], restore: string): void => {
    const { replyTo } = pane.state.value;
    const quote = replyTo && thread === 0n ? quoteOf(replyTo) : undefined;
    pane.state.set({ replyTo: undefined });
    typing.stopped();
    const work = async (): Promise<void> => {
      for (const [index, content] of contents.entries()) {
        const whole = { ...content, thread, ...(index === 0 && quote ? { quote } : {}) };
        const { localId } = await pane.client.send(pane.conversation, whole);
        pane.window.sent(localId, whole);
      }
    };
    work().catch((error: unknown) => {
      toast(errorText(error), { kind: "danger" });
      if (restore !== "") write(restore);
    });
    if (thread === 0n) void pane.toEnd();
  };

  const send = (): void => {
    const said = text.trim();
    if (tooLong > 0) return;
    if (editing) {
      if (said === "") return;
      if (said !== editing.content?.text?.text) report(pane.changes.edit(editing, textContent(said, mentioned.current)));
      pane.state.set({ editing: undefined });
      return;
    }
    const { list } = uploads.state.value;
    if (list.length > 0 && !list.every(({ stored }) => stored)) {
      if (list.every(({ error }) => error === undefined)) uploads.state.set({ isWaiting: true });
      return;
    }
    const files = uploads.take();
    if (said === "" && files.length === 0) return;
    // A single file carries the text; several are followed by it.
    const caption = files.length === 1 && said.length < 1000 ? said : "";
    const contents = files.map((file) => fileContent(file, caption));
    if (said !== "" && caption === "") contents.push(textContent(said, mentioned.current));
    write("");
    tell();
    mentioned.current.clear();
    sendAll(contents, caption === "" ? said : "");
  };

  // The last upload has arrived after somebody pressed send.
  const isReady = useStore(uploads.state, isReadyOf);
  const latest = useRef(send);
  useLayoutEffect(() => {
    latest.current = send;
  });
  useEffect(() => {
    if (isReady) latest.current();
  }, [isReady]);

  const cancel = (): boolean => {
    const { replyTo } = pane.state.value;
    if (!editing && !replyTo) return false;
    pane.state.set({ editing: undefined, replyTo: undefined });
    return true;
  };

  return { text, tooLong, setText, mention: (name, user) => void mentioned.current.set(name, user), send, cancel };
}

/** Makes a text message that calls those whose names it has after an @. */
function textContent(text: string, mentioned: ReadonlyMap<string, string>): ContentInit {
  const users = [...mentioned].filter(([name, user]) => user !== "" && text.includes(`@${name}`)).map(([, user]) => user);
  const everybody = [...mentioned].some(([name, user]) => user === "" && EVERYBODY.includes(name) && text.includes(`@${name}`));
  return { text: { text }, ...(users.length > 0 || everybody ? { mentions: { users: [...new Set(users)], everybody } } : {}) };
}
