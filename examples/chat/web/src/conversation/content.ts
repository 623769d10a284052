import type { Client, Content, ContentInit, Conversation, MessageId, SentMessage } from "@im-sdk/client";
import type { MessageView } from "./window/entries";

/** The parts of a message that its reader may copy, quote or search. */
export function textOf(content: Content | undefined): string {
  if (!content) return "";
  const { text, image, video, file, card, location } = content;
  return text?.text || image?.caption || video?.caption || file?.caption || card?.title || location?.name || "";
}

/** The words for kinds of messages. */
export type ContentName = "text" | "image" | "video" | "voice" | "file" | "location" | "card" | "forwarded" | "notice" | "custom" | "unknown";

export function kindOf(content: Content): ContentName {
  const kinds = ["text", "image", "video", "voice", "file", "location", "card", "forwarded", "notice", "custom"] as const;
  return kinds.find((kind) => content[kind] !== undefined) ?? "unknown";
}

/** Makes a quote. The back end looks the message up, and says itself what it says. */
export function quoteOf({ id, seq, from, content }: MessageView): NonNullable<ContentInit["quote"]> {
  return { messageId: id, seq, from: from ?? "", kind: content ? kindOf(content) : "", excerpt: excerptOf(textOf(content)) };
}

/** Makes an entry of a bundle. */
export function forwardedEntry({ id, seq, from, content, at }: MessageView, { channel }: Conversation, name: string): NonNullable<NonNullable<ContentInit["forwarded"]>["entries"]>[number] {
  return { messageId: id, seq, channel: channel ?? "", from: from ?? "", sentAtMs: at, name, content: content && withoutReferences(content) };
}

/** Returns what can be sent elsewhere: what a message answers belongs to its conversation. */
export function withoutReferences(content: Content): ContentInit {
  const { quote: _quote, thread: _thread, amended: _amended, mentions: _mentions, silent: _silent, $unknown: _unknown, ...rest } = content;
  return rest;
}

const MOST_EXCERPT_BYTES = 480;

function excerptOf(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= MOST_EXCERPT_BYTES) return text;
  return new TextDecoder().decode(bytes.slice(0, MOST_EXCERPT_BYTES)).replace(/\ufffd+$/, "");
}

type ChangeInit = NonNullable<ContentInit["change"]>;

/** Sends changes of messages of one conversation. */
export class Changes {
  constructor(
    private readonly client: Pick<Client, "send">,
    private readonly conversation: Conversation,
  ) {}

  react(message: MessageView, emoji: string, removed: boolean): Promise<SentMessage> {
    return this.#send(message, { reaction: { emoji, removed } });
  }

  pin(message: MessageView, removed: boolean): Promise<SentMessage> {
    return this.#send(message, { pin: { removed } });
  }

  recall(message: MessageView): Promise<SentMessage> {
    return this.#send(message, { recall: {} });
  }

  deleteForMe(message: MessageView): Promise<SentMessage> {
    return this.#send(message, { deleteForMe: {} });
  }

  /** Says something else. What it answers stays. */
  edit(message: MessageView, content: ContentInit): Promise<SentMessage> {
    const { quote, thread } = message.content ?? {};
    return this.#send(message, { edit: { ...content, quote, thread: thread ?? 0n } });
  }

  #send({ id, seq }: { readonly id: MessageId; readonly seq: number }, change: ChangeInit): Promise<SentMessage> {
    return this.client.send(this.conversation, { change: { messageId: id, seq, ...change } });
  }
}
