/** Characters that turn the text around them: embeddings and overrides, and isolates, which end with their block. */
const OVERRIDES = "\u202a\u202b\u202c\u202d\u202e";
const ISOLATES = "\u2066\u2067\u2068\u2069";
const CONTROL = new RegExp(`[${OVERRIDES}]`);
const CONTROLS = new RegExp(`[${OVERRIDES}${ISOLATES}\u200e\u200f\u061c]`, "g");
const NAMES: Readonly<Record<string, string>> = { "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO" };

/** A piece of text, or the name of a control character that stood there. */
export type BidiPiece = { readonly text: string } | { readonly control: string };

/** Takes embeddings and overrides out of a text; isolates stay, as nothing leaks out of them. */
export function splitControls(text: string): BidiPiece[] {
  if (!CONTROL.test(text)) return [{ text }];
  return text
    .split(new RegExp(`([${OVERRIDES}])`))
    .filter((piece) => piece !== "")
    .map((piece) => (NAMES[piece] ? { control: NAMES[piece] } : { text: piece }));
}

/** Removes all control characters of direction, for names, addresses and file names. */
export function withoutControls(text: string): string {
  return text.replace(CONTROLS, "");
}

const MOST_MARKS = 8;
const MANY_MARKS = new RegExp(`(\\p{M}{${MOST_MARKS}})\\p{M}+`, "gu");

/** Limits the marks on one letter; no script needs more. */
export function limitMarks(text: string): string {
  return text.replace(MANY_MARKS, "$1");
}
