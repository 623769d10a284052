const MOST_BYTES = 1000;

/** A draft as this device keeps it, with what it last told the others. */
interface Kept {
  readonly text: string;
  readonly told: string;
  /** What the account said then: until it says something else, it has not heard of it. */
  readonly was: string;
}

/** Drafts on this device: what is typed is kept at once, whatever the connection does. */
export class Drafts {
  constructor(
    private readonly user: string,
    private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> = localStorage,
  ) {}

  /** Returns the text to begin with, given what the account says; `undefined` as long as that is not known. */
  text(key: string, shared: string | undefined): string {
    const kept = this.#read(key);
    if (!kept || shared === undefined) return kept?.text ?? shared ?? "";
    return isNews(kept, shared) ? shared : kept.text;
  }

  /** Keeps what was typed, given what the account says. */
  keep(key: string, text: string, shared: string | undefined): void {
    const kept = this.#read(key);
    // What is typed here goes on from what another device has written, which this one need not tell.
    const { told, was } = kept && (shared === undefined || !isNews(kept, shared)) ? kept : { told: shared ?? "", was: shared ?? "" };
    this.#write(key, { text, told, was });
  }

  /** Returns what the other devices are to be told, or `undefined` if they know it. */
  tell(key: string, shared: string | undefined): string | undefined {
    const kept = this.#read(key);
    if (!kept) return undefined;
    const told = shareable(kept.text);
    if (told === kept.told) return undefined;
    this.#write(key, { text: kept.text, told, was: shared ?? kept.told });
    return told;
  }

  #read(key: string): Kept | undefined {
    try {
      const kept = JSON.parse(this.storage.getItem(this.#name(key)) ?? "null") as Kept | null;
      return kept && typeof kept.text === "string" && typeof kept.told === "string" && typeof kept.was === "string" ? kept : undefined;
    } catch {
      return undefined;
    }
  }

  #write(key: string, kept: Kept): void {
    try {
      if (kept.text === "" && kept.told === "" && kept.was === "") this.storage.removeItem(this.#name(key));
      else this.storage.setItem(this.#name(key), JSON.stringify(kept));
    } catch {
      // A full storage costs the draft on this device alone.
    }
  }

  #name(key: string): string {
    return `draft/${this.user}/${key}`;
  }
}

/** Returns whether another device has written since, and nothing was typed here that it does not know. */
function isNews({ text, told, was }: Kept, shared: string): boolean {
  return shared !== told && shared !== was && shareable(text) === told;
}

/** Returns the beginning of a text that fits the draft of a conversation. */
export function shareable(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= MOST_BYTES) return text;
  return new TextDecoder().decode(bytes.slice(0, MOST_BYTES)).replace(/\ufffd+$/, "");
}
