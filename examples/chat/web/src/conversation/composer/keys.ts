/** What a key event says that matters for sending. */
export interface KeyPress {
  readonly key: string;
  readonly keyCode: number;
  readonly isComposing: boolean;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

/** Safari ends a composition before the key event of the Enter that ended it. */
const AFTER_COMPOSITION_MS = 30;

/** Knows whether keys belong to an input method. */
export class Composition {
  #isOpen = false;
  #endedAt = -Infinity;

  begin(): void {
    this.#isOpen = true;
  }

  end(now: number): void {
    this.#isOpen = false;
    this.#endedAt = now;
  }

  takes({ isComposing, keyCode }: Pick<KeyPress, "isComposing" | "keyCode">, now: number): boolean {
    return this.#isOpen || isComposing || keyCode === 229 || now - this.#endedAt < AFTER_COMPOSITION_MS;
  }
}

/** Returns whether a key sends, if no input method takes it. */
export function sends({ key, shiftKey, altKey, ctrlKey, metaKey }: KeyPress, enterSends: boolean): boolean {
  if (key !== "Enter" || shiftKey || altKey) return false;
  return enterSends || ctrlKey || metaKey;
}

/** Returns whether Enter sends; the settings keep it on this device. */
export function enterSends(): boolean {
  return localStorage.getItem("enterSends") !== "false";
}
