/** A tone: frequency in Hz, start and length in seconds. */
type Tone = readonly [frequency: number, start: number, length: number];

interface Pattern {
  readonly tones: readonly Tone[];
  readonly volume: number;
  readonly everyMs?: number;
}

const PATTERNS = {
  /** It rings here: a rising chord, like a small music box. */
  ring: { tones: [[659, 0, 0.5], [831, 0.16, 0.5], [988, 0.32, 0.7], [831, 0.8, 0.4], [988, 0.96, 0.8]], volume: 0.16, everyMs: 2800 },
  /** It rings at the other end. */
  ringback: { tones: [[425, 0, 1]], volume: 0.05, everyMs: 4000 },
  end: { tones: [[480, 0, 0.18], [380, 0.16, 0.28]], volume: 0.08 },
} as const satisfies Record<string, Pattern>;

export type Sound = keyof typeof PATTERNS;

/** Plays the sounds of calls, made on the spot. A browser in which the user has not done anything yet may keep silent. */
export class Sounds {
  #context: AudioContext | undefined;
  #master: GainNode | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #playing: Sound | undefined;

  /** Plays a sound instead of the present one; one that repeats goes on until the next. */
  play(sound: Sound | undefined): void {
    if (sound === this.#playing) return;
    this.#stop();
    if (!sound) return;
    const { tones, volume, everyMs }: Pattern = PATTERNS[sound];
    const context = (this.#context ??= new AudioContext());
    void context.resume().catch(() => {});
    const master = (this.#master = new GainNode(context, { gain: volume }));
    master.connect(context.destination);
    const once = (): void => tones.forEach((tone) => this.#sound(context, master, tone));
    once();
    if (everyMs === undefined) return;
    this.#playing = sound;
    this.#timer = setInterval(once, everyMs);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#playing = undefined;
    this.#master?.gain.setTargetAtTime(0, this.#context?.currentTime ?? 0, 0.02);
    this.#master = undefined;
  }

  #sound(context: AudioContext, out: AudioNode, [frequency, start, length]: Tone): void {
    // What was scheduled while the browser kept silent would sound all at once.
    if (context.state !== "running" && context.currentTime > 0) return;
    const at = context.currentTime + start;
    const oscillator = new OscillatorNode(context, { type: "sine", frequency });
    const envelope = new GainNode(context, { gain: 0 });
    envelope.gain.setValueAtTime(0, at);
    envelope.gain.linearRampToValueAtTime(1, at + 0.02);
    envelope.gain.exponentialRampToValueAtTime(0.001, at + length);
    oscillator.connect(envelope).connect(out);
    oscillator.start(at);
    oscillator.stop(at + length);
  }
}
