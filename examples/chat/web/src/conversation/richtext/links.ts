/** A piece of a line, with the address that it leads to. */
export interface LinkPiece {
  readonly text: string;
  readonly href?: string;
}

const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);
// ASCII alone: what looks like another address cannot hide in it, and Chinese text may follow without a space.
const ADDRESS = /(?:https?:\/\/|mailto:)[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+|(?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*\.[a-z]{2,24}(?![\w@-])/gi;
const TRAILING = /[.,:;!?'*_~]$/;

/** Returns the address if it may be followed, as the browser understands it. */
export function safeHref(address: string): string | undefined {
  try {
    const url = new URL(address);
    if (!PROTOCOLS.has(url.protocol)) return undefined;
    if (url.protocol !== "mailto:" && (url.hostname === "" || url.username !== "" || url.password !== "")) return undefined;
    return url.href;
  } catch {
    return undefined;
  }
}

/** Ends an address before punctuation that belongs to the sentence. */
function trimmed(address: string): string {
  let end = address;
  for (;;) {
    const closes = end.endsWith(")") && count(end, "(") < count(end, ")");
    const closesSquare = end.endsWith("]") && count(end, "[") < count(end, "]");
    if (!closes && !closesSquare && !TRAILING.test(end)) return end;
    end = end.slice(0, -1);
  }
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}

/** Finds the addresses in a text. */
export function splitLinks(text: string): LinkPiece[] {
  const pieces: LinkPiece[] = [];
  let last = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const address = trimmed(match[0]);
    const href = safeHref(/^(?:https?:|mailto:)/i.test(address) ? address : `mailto:${address}`);
    if (!href) continue;
    if (match.index > last) pieces.push({ text: text.slice(last, match.index) });
    pieces.push({ text: address, href });
    last = match.index + address.length;
  }
  if (last < text.length) pieces.push({ text: text.slice(last) });
  return pieces;
}
