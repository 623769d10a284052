import type { Call, CallKind, Effect, MediaInput } from "../machine/types";
import type { DeviceKind } from "./devices";
import { LocalMedia, type LocalView } from "./LocalMedia";
import { PeerLink, type RemoteView } from "./PeerLink";

type MediaEffect = Extract<Effect, { type: "prepare" | "connect" | "make_offer" | "take_offer" | "take_answer" | "take_candidates" | "close" }>;

interface Handlers {
  input(input: MediaInput): void;
  changed(): void;
  iceServers(): Promise<RTCIceServer[]>;
}

/** Microphone, camera and connection of the present call. */
export class CallMedia {
  #local: LocalMedia | undefined;
  #opened: ReturnType<LocalMedia["open"]> | undefined;
  #peer: PeerLink | undefined;
  #iceServers: RTCIceServer[] = [];
  /** The call that media are for. */
  #id = "";
  /** Unset if the user answers a video call without a picture. */
  withCamera = true;

  constructor(readonly handlers: Handlers) {}

  get local(): LocalView | undefined {
    return this.#local?.view;
  }

  get remote(): RemoteView | undefined {
    return this.#peer?.remote;
  }

  perform(effect: MediaEffect): void {
    switch (effect.type) {
      case "prepare":
        return void this.#prepare(effect.call);
      case "connect":
        return this.#connect(effect.call.id);
      case "make_offer":
        return void this.#offer(effect.isRestart);
      case "take_offer":
        return void this.#answer(effect.round, effect.sdp);
      case "take_answer":
        return this.#peer?.takeAnswer(effect.sdp);
      case "take_candidates":
        return this.#peer?.takeCandidates(effect.candidates);
      case "close":
        return this.#close();
    }
  }

  setMuted(isMuted: boolean): void {
    this.#local?.setMuted(isMuted);
  }

  setCamera(isOn: boolean): void {
    void this.#local?.setCamera(isOn);
  }

  choose(kind: DeviceKind, device: string): void {
    void this.#local?.choose(kind, device);
    if (kind === "audiooutput") this.#peer?.setOutput(device);
  }

  /** If two users call each other at once, this comes a second time while the microphone is being opened. */
  async #prepare({ id, kind }: Call): Promise<void> {
    const local = (this.#local ??= this.#makeLocal());
    const ice = this.handlers.iceServers().catch(() => []);
    const problem = await (this.#opened ??= local.open(this.#kindOf(kind)));
    this.#iceServers = await ice;
    const isPresent = this.#local === local;
    if (problem && isPresent) this.#close();
    if (problem) this.handlers.input({ type: "unprepared", id, problem });
    else if (isPresent) this.handlers.input({ type: "prepared", id });
  }

  #kindOf(kind: CallKind): CallKind {
    return this.withCamera ? kind : "audio";
  }

  #makeLocal(): LocalMedia {
    return new LocalMedia({
      changed: () => {
        if (this.local) this.#peer?.tell(this.local);
        this.handlers.changed();
      },
      replaced: (kind, track) => this.#peer?.replace(kind, track),
    });
  }

  #connect(id: string): void {
    const local = this.#local;
    if (!local) return;
    const { input, changed } = this.handlers;
    this.#id = id;
    this.#peer = new PeerLink(this.#iceServers, local, local.view, {
      candidates: (candidates) => input({ type: "candidates", id, candidates }),
      state: (state) => input({ type: "link", id, state }),
      left: () => input({ type: "peer_left", id }),
      changed,
    });
    this.#peer.setOutput(local.view.chosen.audiooutput);
  }

  async #offer(isRestart: boolean): Promise<void> {
    const id = this.#id;
    const sdp = await this.#peer?.offer(isRestart);
    if (sdp) this.handlers.input({ type: "offered", id, sdp });
  }

  async #answer(round: number, offer: string): Promise<void> {
    const id = this.#id;
    const sdp = await this.#peer?.answer(offer);
    if (sdp) this.handlers.input({ type: "answered", id, round, sdp });
  }

  #close(): void {
    this.#peer?.sayGoodbye();
    this.#peer?.close();
    this.#local?.close();
    this.#peer = this.#local = this.#opened = undefined;
  }
}
