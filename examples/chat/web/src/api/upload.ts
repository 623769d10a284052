import { ApiError } from "./errors";
import { api } from "./http";
import type { StoredFile } from "./types";

const CHUNK_BYTES = 512 * 1024;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export interface UploadOptions {
  /** Called with how much has arrived, from 0 to 1. */
  readonly onProgress?: (share: number) => void;
  /** Cancels. What has arrived is removed. */
  readonly signal?: AbortSignal;
}

/** Uploads a file in chunks. Where the connection breaks it goes on from what has arrived. */
export async function uploadFile(file: File, { onProgress, signal }: UploadOptions = {}): Promise<StoredFile> {
  const { id } = await api.post<{ id: string }>("/api/files", { name: file.name, type: file.type, bytes: file.size }, { signal });
  try {
    let offset = 0;
    let pause = FIRST_PAUSE_MS;
    while (offset < file.size) {
      try {
        const chunk = file.slice(offset, offset + CHUNK_BYTES);
        ({ offset } = await api.patch<{ offset: number }>(`/api/files/${id}`, chunk, { signal, headers: { "Upload-Offset": String(offset), "Content-Type": "application/octet-stream" } }));
        pause = FIRST_PAUSE_MS;
        onProgress?.(offset / file.size);
      } catch (error) {
        if (!mayGoOn(error)) throw error;
        await wait(pause, signal);
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
        offset = await arrived(id, offset, signal);
      }
    }
    return await api.post<StoredFile>(`/api/files/${id}/complete`, {}, { signal });
  } catch (error) {
    if (signal?.aborted) void api.delete(`/api/files/${id}`).catch(() => undefined);
    throw error;
  }
}

/** A chunk whose answer was lost may have arrived: 409 says that the offset is not what the back end has. */
function mayGoOn(error: unknown): boolean {
  return error instanceof ApiError && (error.isOffline || error.status === 409 || error.status === 429 || error.status >= 500);
}

async function arrived(id: string, offset: number, signal: AbortSignal | undefined): Promise<number> {
  try {
    return (await api.get<{ offset: number }>(`/api/files/${id}`, { signal })).offset;
  } catch (error) {
    if (mayGoOn(error)) return offset;
    throw error;
  }
}

function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
