import { limitMarks, splitControls } from "./bidi";
import { countOnlyEmoji } from "./emoji";
import { directionOf, type Direction } from "./direction";
import { splitLinks } from "./links";

/** A person whose name is highlighted in a text. */
export interface MentionName {
  /** As it stands after the @. */
  readonly name: string;
  /** Empty for everybody. */
  readonly user: string;
}

export type Inline =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "control"; readonly text: string }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "link"; readonly text: string; readonly href: string }
  | { readonly kind: "mention"; readonly text: string; readonly user: string };

export type Block =
  | { readonly kind: "code"; readonly text: string; readonly language: string }
  | { readonly kind: "paragraph"; readonly direction: Direction | undefined; readonly inlines: readonly Inline[] };

export interface ParsedText {
  readonly blocks: readonly Block[];
  /** The number of emoji if there is nothing else. */
  readonly onlyEmoji: number;
}

/**
 * Reads a text as blocks. It makes no HTML, so there is nothing to escape: whoever shows it makes elements with text in them.
 */
export function parseText(text: string, mentions: readonly MentionName[] = []): ParsedText {
  const clean = limitMarks(text.replace(/\r\n?/g, "\n"));
  const onlyEmoji = countOnlyEmoji(clean);
  const blocks: Block[] = [];
  let rest = clean;
  for (;;) {
    const fence = /(?:^|\n)```([\w+#.-]{0,24})\n([\s\S]*?)(?:\n```(?=\n|$)|$)/.exec(rest);
    if (!fence) break;
    addParagraphs(blocks, rest.slice(0, fence.index), mentions);
    blocks.push({ kind: "code", language: fence[1] ?? "", text: fence[2] ?? "" });
    rest = rest.slice(fence.index + fence[0].length).replace(/^\n/, "");
  }
  addParagraphs(blocks, rest, mentions);
  return { blocks, onlyEmoji };
}

/** Joins neighbouring lines of one direction to a paragraph. Lines without letters stay with the line above. */
function addParagraphs(blocks: Block[], text: string, mentions: readonly MentionName[]): void {
  if (text === "") return;
  let lines: string[] = [];
  let direction: Direction | undefined;
  const flush = (): void => {
    if (lines.length > 0) blocks.push({ kind: "paragraph", direction, inlines: inlinesOf(lines.join("\n"), mentions) });
  };
  for (const line of text.split("\n")) {
    const own = directionOf(line);
    if (own !== undefined && direction !== undefined && own !== direction) {
      flush();
      lines = [];
    }
    direction = own ?? direction;
    lines.push(line);
  }
  flush();
}

/** Reads what stands in one paragraph: code first, as nothing else counts in it. */
function inlinesOf(text: string, mentions: readonly MentionName[]): Inline[] {
  return text.split(/(`[^`\n]+`)/).flatMap((piece, index): Inline[] => {
    if (index % 2 === 1) return [{ kind: "code", text: piece.slice(1, -1) }];
    return splitLinks(piece).flatMap(({ text: said, href }): Inline[] => (href === undefined ? wordsOf(said, mentions) : [{ kind: "link", text: said, href }]));
  });
}

function wordsOf(text: string, mentions: readonly MentionName[]): Inline[] {
  return splitMentions(text, mentions).flatMap((piece): Inline[] => {
    if (piece.kind !== "text") return [piece];
    return splitControls(piece.text).map((part) => ("control" in part ? { kind: "control", text: part.control } : { kind: "text", text: part.text }));
  });
}

/** Finds the names after an @. The longest name counts where one begins with another. */
function splitMentions(text: string, mentions: readonly MentionName[]): Inline[] {
  if (mentions.length === 0 || !text.includes("@")) return text === "" ? [] : [{ kind: "text", text }];
  const byLength = [...mentions].filter(({ name }) => name !== "").sort((one, other) => other.name.length - one.name.length);
  const pieces: Inline[] = [];
  let last = 0;
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    if (at < last) continue;
    const found = byLength.find(({ name }) => text.startsWith(name, at + 1) && !/^[\p{Script=Latin}\p{N}_]/u.test(text.slice(at + 1 + name.length)));
    if (!found) continue;
    if (at > last) pieces.push({ kind: "text", text: text.slice(last, at) });
    last = at + 1 + found.name.length;
    pieces.push({ kind: "mention", text: text.slice(at, last), user: found.user });
  }
  if (last < text.length) pieces.push({ kind: "text", text: text.slice(last) });
  return pieces;
}
