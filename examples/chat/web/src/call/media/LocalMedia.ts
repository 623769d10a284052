import type { CallKind, MediaProblem } from "../machine/types";
import { remembered, remember, type DeviceKind } from "./devices";
import { problemOf } from "./problem";

/** What the user's microphone and camera do. */
export interface LocalView {
  readonly isMuted: boolean;
  readonly isCameraOn: boolean;
  /** The camera is being opened. */
  readonly isCameraOpening: boolean;
  readonly cameraProblem: MediaProblem | undefined;
  /** The picture of the camera. */
  readonly picture: MediaStream | undefined;
  readonly chosen: Readonly<Record<DeviceKind, string>>;
  readonly devices: readonly MediaDeviceInfo[];
}

interface Handlers {
  changed(): void;
  /** The connection is to send another track. */
  replaced(kind: "audio" | "video", track: MediaStreamTrack | null): void;
}

/** The microphone and the camera of one call. A camera that is off is released, so that its light goes out. */
export class LocalMedia {
  #audio: MediaStreamTrack | undefined;
  #video: MediaStreamTrack | undefined;
  #view: LocalView = {
    isMuted: false,
    isCameraOn: false,
    isCameraOpening: false,
    cameraProblem: undefined,
    picture: undefined,
    chosen: remembered(),
    devices: [],
  };
  #isReleased = false;
  readonly #onDevices = (): void => void this.#listDevices();

  constructor(readonly handlers: Handlers) {}

  get view(): LocalView {
    return this.#view;
  }

  get audio(): MediaStreamTrack | undefined {
    return this.#audio;
  }

  get video(): MediaStreamTrack | undefined {
    return this.#video;
  }

  /** Opens the microphone and, if it can be had, the camera. Returns what is wrong with the microphone. */
  async open(kind: CallKind): Promise<MediaProblem | undefined> {
    try {
      if (kind === "video" && (await this.#openBoth())) return undefined;
      this.#take(await ask(this.#audioConstraints(), false));
    } catch (error) {
      return problemOf(error);
    }
    return undefined;
  }

  setMuted(isMuted: boolean): void {
    if (this.#audio) this.#audio.enabled = !isMuted;
    this.#update({ isMuted });
  }

  async setCamera(isOn: boolean): Promise<void> {
    if (!isOn) return this.#dropCamera();
    if (this.#view.isCameraOpening || this.#video) return;
    this.#update({ isCameraOpening: true, cameraProblem: undefined });
    try {
      this.#take(await ask(false, this.#videoConstraints()));
    } catch (error) {
      this.#update({ cameraProblem: problemOf(error) });
    }
    this.#update({ isCameraOpening: false });
  }

  /** Uses another device, now and in later calls. */
  async choose(kind: DeviceKind, id: string): Promise<void> {
    const chosen = { ...this.#view.chosen, [kind]: id };
    remember(chosen);
    this.#update({ chosen });
    if (kind === "audioinput") await this.#reopenMicrophone();
    if (kind === "videoinput" && this.#video) {
      this.#dropCamera();
      await this.setCamera(true);
    }
  }

  close(): void {
    this.#isReleased = true;
    navigator.mediaDevices?.removeEventListener("devicechange", this.#onDevices);
    for (const track of [this.#audio, this.#video]) track?.stop();
    this.#audio = this.#video = undefined;
  }

  async #openBoth(): Promise<boolean> {
    try {
      this.#take(await ask(this.#audioConstraints(), this.#videoConstraints()));
      return true;
    } catch (error) {
      // The call goes on without a picture.
      this.#update({ cameraProblem: problemOf(error) });
      return false;
    }
  }

  async #reopenMicrophone(): Promise<void> {
    try {
      this.#take(await ask(this.#audioConstraints(), false));
    } catch {
      // The present one, if it still works, stays in use.
    }
  }

  #take(stream: MediaStream): void {
    if (this.#isReleased) return stream.getTracks().forEach((track) => track.stop());
    const [audio] = stream.getAudioTracks();
    const [video] = stream.getVideoTracks();
    if (audio) {
      this.#audio?.stop();
      this.#audio = audio;
      audio.enabled = !this.#view.isMuted;
      // It was unplugged: another one goes on.
      audio.onended = () => void this.#reopenMicrophone();
      this.handlers.replaced("audio", audio);
    }
    if (video) {
      this.#video = video;
      video.onended = () => this.#dropCamera();
      this.handlers.replaced("video", video);
      this.#update({ isCameraOn: true, cameraProblem: undefined, picture: new MediaStream([video]) });
    }
    navigator.mediaDevices.addEventListener("devicechange", this.#onDevices);
    void this.#listDevices();
  }

  #dropCamera(): void {
    this.#video?.stop();
    this.#video = undefined;
    this.handlers.replaced("video", null);
    this.#update({ isCameraOn: false, picture: undefined });
  }

  async #listDevices(): Promise<void> {
    // Names are known once the user has allowed one of them.
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    if (!this.#isReleased) this.#update({ devices: devices.filter(({ deviceId }) => deviceId !== "") });
  }

  #audioConstraints(): MediaTrackConstraints {
    return { echoCancellation: true, noiseSuppression: true, ...preferring(this.#view.chosen.audioinput) };
  }

  #videoConstraints(): MediaTrackConstraints {
    return { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user", ...preferring(this.#view.chosen.videoinput) };
  }

  #update(change: Partial<LocalView>): void {
    this.#view = { ...this.#view, ...change };
    this.handlers.changed();
  }
}

/** A device that has gone is replaced by another one. */
function preferring(id: string): MediaTrackConstraints {
  return id ? { deviceId: { ideal: id } } : {};
}

async function ask(audio: MediaTrackConstraints | false, video: MediaTrackConstraints | false): Promise<MediaStream> {
  // Pages without HTTPS do not have it.
  if (!navigator.mediaDevices) throw new DOMException("no media devices", "NotFoundError");
  return navigator.mediaDevices.getUserMedia({ audio, video });
}
