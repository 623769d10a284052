import { crc32, deflateSync } from "node:zlib";
import type { StoredFile } from "../../src/api/types";
import type { Account } from "./account";

export interface Upload {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

/** Makes a picture of one colour. */
export function picture(name: string, width: number, height: number): Upload {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const line = Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3, 0x6a)]);
  const pixels = deflateSync(Buffer.concat(Array.from({ length: height }, () => line)));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return { name, mimeType: "image/png", buffer: Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]) };
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "ascii"), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

/** Makes a quiet sound. */
export function sound(name: string, seconds: number): Upload {
  const samples = Buffer.alloc(seconds * 8000, 128);
  const header = Buffer.alloc(44);
  header.write("RIFF", 0, "ascii");
  header.writeUInt32LE(36 + samples.length, 4);
  header.write("WAVEfmt ", 8, "ascii");
  header.writeUInt32LE(16, 16);
  // One channel of 8000 samples of one byte in a second.
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(8000, 24);
  header.writeUInt32LE(8000, 28);
  header.writeUInt16LE(1, 32);
  header.writeUInt16LE(8, 34);
  header.write("data", 36, "ascii");
  header.writeUInt32LE(samples.length, 40);
  return { name, mimeType: "audio/wav", buffer: Buffer.concat([header, samples]) };
}

/** Stores a file for an account, as the page does. */
export async function store(account: Account, { name, mimeType, buffer }: Upload): Promise<StoredFile> {
  const { id } = await account.api<{ id: string }>("POST", "/api/files", { name, type: mimeType, bytes: buffer.length });
  const headers = { Authorization: `Bearer ${account.session.access_token}`, "X-Chat": "1", "Upload-Offset": "0", "Content-Type": "application/octet-stream" };
  const answer = await fetch(`${account.url}/api/files/${id}`, { method: "PATCH", headers, body: new Uint8Array(buffer) });
  if (!answer.ok) throw new Error(`the file ${name} was not taken: ${await answer.text()}`);
  return account.api<StoredFile>("POST", `/api/files/${id}/complete`);
}
