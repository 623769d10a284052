const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const KEYCAP = /^[0-9#*]\ufe0f?\u20e3$/;
const FLAG = /^\p{Regional_Indicator}{2}$/u;
const PICTURE = /^(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier}|(?=.*\u200d)))/u;
const REST = /^(?:[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f\u200d]|[\u{e0020}-\u{e007f}])*$/u;
const MOST_LARGE = 6;

/** Returns whether one grapheme is an emoji. */
export function isEmoji(grapheme: string): boolean {
  if (KEYCAP.test(grapheme) || FLAG.test(grapheme)) return true;
  return PICTURE.test(grapheme) && REST.test(grapheme);
}

/** Returns the number of emoji if a text has nothing else, up to six; 0 for any other text. */
export function countOnlyEmoji(text: string): number {
  const trimmed = text.trim();
  if (trimmed === "" || trimmed.length > 120) return 0;
  let count = 0;
  for (const { segment } of segments.segment(trimmed)) {
    if (/^\s$/.test(segment)) continue;
    if (!isEmoji(segment) || ++count > MOST_LARGE) return 0;
  }
  return count;
}

/** Returns where the last grapheme before a place begins. */
export function graphemeBefore(text: string, end: number): number {
  const from = Math.max(0, end - 64);
  let start = end;
  for (const { index } of segments.segment(text.slice(from, end))) start = from + index;
  return start;
}
