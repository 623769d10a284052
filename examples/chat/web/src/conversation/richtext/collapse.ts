/** Where a long text is cut until its reader wants all of it. */
const MOST_LINES = 24;
const MOST_CHARACTERS = 3000;
/** What is shown of it then. */
const SHOWN_LINES = 12;
const SHOWN_CHARACTERS = 1200;
const LONG_WORD = 400;

const segments = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The beginning of a text that is too long to be shown at once. */
export interface Collapsed {
  readonly shown: string;
  /** The lines of the whole text. */
  readonly lines: number;
  readonly characters: number;
}

/** Returns the beginning of a text that is long or has an over-long word; `undefined` for other texts. */
export function collapse(text: string): Collapsed | undefined {
  const lines = text.split("\n");
  const long = [...text.matchAll(new RegExp(`\\S{${LONG_WORD},}`, "g"))].find(({ 0: word }) => !isAddress(word));
  if (lines.length <= MOST_LINES && text.length <= MOST_CHARACTERS && !long) return undefined;
  const byLines = lines.length > MOST_LINES ? lines.slice(0, SHOWN_LINES).join("\n") : text;
  const most = long && long.index < SHOWN_CHARACTERS ? Math.min(SHOWN_CHARACTERS, long.index + LONG_WORD) : SHOWN_CHARACTERS;
  const shown = byLines.length > most ? beforeAddress(cutAt(byLines, most)) : byLines;
  if (shown.length === text.length) return undefined;
  return { shown, lines: lines.length, characters: text.length };
}

/** Cuts a text between two graphemes. */
export function cutAt(text: string, length: number): string {
  if (text.length <= length) return text;
  const from = Math.max(0, length - 64);
  let end = from;
  for (const { index } of segments.segment(text.slice(from, length + 64))) {
    if (from + index > length) break;
    end = from + index;
  }
  return text.slice(0, end || length);
}

function isAddress(word: string): boolean {
  return /^https?:\/\//i.test(word) && word.length <= 2048;
}

/** Drops an address at the end of a cut text: half of it leads elsewhere. */
function beforeAddress(cut: string): string {
  const start = /https?:\/\/\S*$/i.exec(cut)?.index ?? 0;
  return start > 0 ? cut.slice(0, start) : cut;
}
