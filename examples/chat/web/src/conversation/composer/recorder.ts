/** A recording that has ended. */
export interface Recording {
  readonly file: File;
  readonly durationMs: number;
  /** Loudness over its length, one byte for each part. */
  readonly waveform: Uint8Array<ArrayBuffer>;
}

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const PARTS = 64;
const SAMPLE_EVERY_MS = 60;

/** Records the microphone. */
export class Recorder {
  readonly #stream: MediaStream;
  readonly #recorder: MediaRecorder;
  readonly #context: AudioContext;
  readonly #chunks: Blob[] = [];
  readonly #levels: number[] = [];
  readonly #startedAt = performance.now();
  readonly #sampling: ReturnType<typeof setInterval>;

  private constructor(stream: MediaStream) {
    this.#stream = stream;
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    this.#recorder = new MediaRecorder(stream, { ...(mimeType ? { mimeType } : {}), audioBitsPerSecond: 32_000 });
    this.#recorder.ondataavailable = ({ data }) => this.#chunks.push(data);
    this.#recorder.start(1000);
    this.#context = new AudioContext();
    const analyser = this.#context.createAnalyser();
    this.#context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Uint8Array(analyser.fftSize);
    this.#sampling = setInterval(() => {
      analyser.getByteTimeDomainData(samples);
      this.#levels.push(Math.min(255, 2.5 * Math.max(...samples.map((sample) => Math.abs(sample - 128)))));
    }, SAMPLE_EVERY_MS);
  }

  /** @throws if the user or the browser does not allow it. */
  static async start(): Promise<Recorder> {
    return new Recorder(await navigator.mediaDevices.getUserMedia({ audio: true }));
  }

  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** The loudness of the last moments, from 0 to 255. */
  get recent(): readonly number[] {
    return this.#levels.slice(-40);
  }

  async stop(): Promise<Recording> {
    const durationMs = Math.round(this.elapsedMs);
    await new Promise<void>((resolve) => {
      this.#recorder.onstop = () => resolve();
      this.#recorder.stop();
    });
    this.cancel();
    const type = this.#recorder.mimeType.split(";")[0] || "audio/webm";
    const file = new File(this.#chunks, `voice.${type === "audio/mp4" ? "m4a" : (type.split("/")[1] ?? "webm")}`, { type });
    return { file, durationMs, waveform: waveformOf(this.#levels) };
  }

  /** Gives the microphone back. */
  cancel(): void {
    clearInterval(this.#sampling);
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    for (const track of this.#stream.getTracks()) track.stop();
    void this.#context.close().catch(() => undefined);
  }
}

/** Returns the highest level of each of as many equal parts as are shown. */
export function waveformOf(levels: readonly number[]): Uint8Array<ArrayBuffer> {
  const parts = Math.min(PARTS, levels.length);
  return Uint8Array.from({ length: parts }, (_, index) => Math.max(...levels.slice(Math.floor((index * levels.length) / parts), Math.floor(((index + 1) * levels.length) / parts))));
}
