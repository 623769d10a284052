import type { ContentInit } from "@im-sdk/client";
import { uploadFile, type StoredFile } from "../../api";
import { Store } from "../store";

/** A file that is attached to the message that is being written. */
export interface Attachment {
  readonly id: number;
  readonly file: File;
  /** Of the file on this device, for pictures. */
  readonly preview: string | undefined;
  readonly share: number;
  readonly stored: StoredFile | undefined;
  readonly error: unknown;
}

export interface Attachments {
  readonly list: readonly Attachment[];
  /** Set if the message is sent as soon as all files have arrived. */
  readonly isWaiting: boolean;
}

const AT_ONCE = 2;
const MOST = 20;

/** The attached files of one conversation. They are uploaded as soon as they are chosen, whatever is shown meanwhile. */
export class Uploads {
  readonly state = new Store<Attachments>({ list: [], isWaiting: false });
  readonly #cancels = new Map<number, AbortController>();
  #lastId = 0;

  add(files: Iterable<File>): void {
    const room = MOST - this.state.value.list.length;
    const added = [...files].slice(0, Math.max(0, room)).map((file): Attachment => {
      const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : undefined;
      return { id: ++this.#lastId, file, preview, share: 0, stored: undefined, error: undefined };
    });
    this.state.set({ list: [...this.state.value.list, ...added] });
    this.#next();
  }

  retry(id: number): void {
    this.#change(id, { error: undefined, share: 0 });
    this.#next();
  }

  remove(id: number): void {
    const gone = this.state.value.list.find((attachment) => attachment.id === id);
    this.#cancels.get(id)?.abort();
    this.#cancels.delete(id);
    if (gone?.preview) URL.revokeObjectURL(gone.preview);
    this.state.set({ list: this.state.value.list.filter((attachment) => attachment.id !== id) });
    this.#next();
  }

  /** Takes the files that have arrived, to send them. */
  take(): readonly StoredFile[] {
    const done = this.state.value.list.filter(({ stored }) => stored);
    for (const { id } of done) this.remove(id);
    this.state.set({ isWaiting: false });
    return done.flatMap(({ stored }) => stored ?? []);
  }

  #next(): void {
    if (this.#cancels.size >= AT_ONCE) return;
    const next = this.state.value.list.find(({ id, stored, error }) => !stored && error === undefined && !this.#cancels.has(id));
    if (!next) return;
    void this.#upload(next);
    this.#next();
  }

  async #upload({ id, file }: Attachment): Promise<void> {
    const cancel = new AbortController();
    this.#cancels.set(id, cancel);
    try {
      const stored = await uploadFile(file, { signal: cancel.signal, onProgress: (share) => this.#change(id, { share }) });
      this.#change(id, { stored, share: 1 });
    } catch (error) {
      if (!cancel.signal.aborted) {
        this.#change(id, { error });
        this.state.set({ isWaiting: false });
      }
    }
    this.#cancels.delete(id);
    this.#next();
  }

  #change(id: number, change: Partial<Attachment>): void {
    this.state.set({ list: this.state.value.list.map((attachment) => (attachment.id === id ? { ...attachment, ...change } : attachment)) });
  }
}

/** Returns a message with a file. */
export function fileContent({ id, name, type, bytes, width, height, duration_ms: durationMs }: StoredFile, caption: string): ContentInit {
  const media = { url: `/files/${id}`, mimeType: type, bytes, name };
  const size = { width: width ?? 0, height: height ?? 0 };
  if (type.startsWith("image/") && width && height) return { image: { media, ...size, caption } };
  if (type.startsWith("video/")) return { video: { media, ...size, durationMs: durationMs ?? 0, caption } };
  return { file: { media, caption } };
}
