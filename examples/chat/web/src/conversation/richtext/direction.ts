export type Direction = "ltr" | "rtl";

const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u;
const LETTER = /\p{L}/u;
/** A majority of the beginning decides; a long paste need not be read to its end. */
const LOOKED_AT = 2000;

/**
 * Returns the direction of most strong characters, or `undefined` if there is none. Addresses and code do not count: they are
 * left to right in any text.
 */
export function directionOf(text: string): Direction | undefined {
  const said = text.slice(0, LOOKED_AT).replace(/`[^`\n]*`|https?:\/\/\S+|mailto:\S+/gi, " ");
  let [balance, first] = [0, undefined as Direction | undefined];
  for (const character of said) {
    if (!LETTER.test(character)) continue;
    const own: Direction = RIGHT_TO_LEFT.test(character) ? "rtl" : "ltr";
    first ??= own;
    balance += own === "rtl" ? -1 : 1;
  }
  return balance > 0 ? "ltr" : balance < 0 ? "rtl" : first;
}
