const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Splits a text into what a reader takes for characters. */
export function graphemes(text: string): string[] {
  return Array.from(segmenter.segment(text), ({ segment }) => segment);
}
