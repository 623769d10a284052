/** A word before the caret that can be completed. */
export interface Token {
  readonly kind: "mention" | "emoji";
  readonly query: string;
  /** Where its @ or : stands. */
  readonly start: number;
  readonly end: number;
}

const MENTION = /(?:^|[^\p{Script=Latin}\p{N}_.@])@([\p{L}\p{N}_.\-·]{0,32})$/u;
const EMOJI = /(?:^|[\s\p{P}\p{Script=Han}])(?<!:):([\p{L}\p{N}_+-]{1,24})$/u;

/** Returns the word at the caret that can be completed. */
export function tokenAt(text: string, caret: number): Token | undefined {
  const before = text.slice(Math.max(0, caret - 64), caret);
  const mention = MENTION.exec(before)?.[1];
  if (mention !== undefined) return { kind: "mention", query: mention, start: caret - mention.length - 1, end: caret };
  const emoji = EMOJI.exec(before)?.[1];
  // One letter after a colon is a smiley as often as a search.
  if (emoji === undefined || (emoji.length < 2 && /[\x21-\x7e]/.test(emoji))) return undefined;
  return { kind: "emoji", query: emoji, start: caret - emoji.length - 1, end: caret };
}

/** Puts a completion in the place of its word. Returns the text and the place of the caret. */
export function complete(text: string, { start, end }: Token, by: string): { readonly text: string; readonly caret: number } {
  const rest = text.slice(end);
  const space = rest.startsWith(" ") ? "" : " ";
  return { text: text.slice(0, start) + by + space + rest, caret: start + by.length + 1 };
}

/** Ranks names: those that begin with what was typed come first. Returns 0 for no match. */
export function rank(query: string, ...names: readonly string[]): number {
  const wanted = query.toLowerCase();
  let best = 0;
  for (const name of names) {
    const at = name.toLowerCase().indexOf(wanted);
    if (at === 0) best = Math.max(best, 3);
    else if (at > 0) best = Math.max(best, /[\s_.-]/.test(name[at - 1] ?? "") ? 2 : 1);
  }
  return best;
}
