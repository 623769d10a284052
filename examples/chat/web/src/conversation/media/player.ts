import { Store } from "../store";

/** The voice note that plays. */
export interface Playing {
  readonly url: string | undefined;
  readonly isPlaying: boolean;
  readonly atMs: number;
  readonly rate: number;
}

/** Plays one voice note at a time, whatever becomes of the row that began it. */
class VoicePlayer {
  readonly state = new Store<Playing>({ url: undefined, isPlaying: false, atMs: 0, rate: 1 });
  #audio: HTMLAudioElement | undefined;

  /** Plays, or pauses what plays. `source` is the link to the file `url`. */
  toggle(url: string, source: string): void {
    const audio = (this.#audio ??= this.#make());
    if (this.state.value.url !== url) {
      audio.src = source;
      audio.playbackRate = this.state.value.rate;
      this.state.set({ url, atMs: 0 });
    } else if (!audio.paused) return audio.pause();
    void audio.play().catch(() => this.state.set({ isPlaying: false }));
  }

  seek(atMs: number): void {
    if (this.#audio) this.#audio.currentTime = atMs / 1000;
    this.state.set({ atMs });
  }

  /** Plays faster: once, one and a half times, twice. */
  faster(): void {
    const rate = this.state.value.rate === 1 ? 1.5 : this.state.value.rate === 1.5 ? 2 : 1;
    if (this.#audio) this.#audio.playbackRate = rate;
    this.state.set({ rate });
  }

  #make(): HTMLAudioElement {
    const audio = new Audio();
    audio.onplay = () => this.state.set({ isPlaying: true });
    audio.onpause = () => this.state.set({ isPlaying: false });
    audio.onended = () => this.state.set({ isPlaying: false, atMs: 0 });
    audio.ontimeupdate = () => this.state.set({ atMs: audio.currentTime * 1000 });
    return audio;
  }
}

export const voicePlayer = new VoicePlayer();
