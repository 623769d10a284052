/** What the device at the other end says about its media. */
export interface RemoteView {
  readonly isMuted: boolean;
  readonly isCameraOn: boolean;
  /** The picture of the other user. */
  readonly picture: MediaStream | undefined;
}

interface Handlers {
  candidates(candidates: RTCIceCandidateInit[]): void;
  state(state: "connected" | "interrupted" | "failed"): void;
  /** The other device is about to leave. */
  left(): void;
  changed(): void;
}

interface Tracks {
  readonly audio: MediaStreamTrack | undefined;
  readonly video: MediaStreamTrack | undefined;
}

interface Status {
  readonly isMuted: boolean;
  readonly isCameraOn: boolean;
}

const BATCH_MS = 60;

/**
 * The media connection of a call. Both kinds of media are agreed on from the start, so that turning a camera on or off needs no
 * new offer. The devices tell each other over a data channel whether they are muted and when they leave.
 */
export class PeerLink {
  readonly #connection: RTCPeerConnection;
  readonly #channel: RTCDataChannel;
  readonly #audio = new Audio();
  readonly #picture = new MediaStream();
  #remote: RemoteView = { isMuted: false, isCameraOn: false, picture: undefined };
  /** Candidates that are about to be sent. */
  #found: RTCIceCandidateInit[] = [];
  #batch: ReturnType<typeof setTimeout> | undefined;
  /** Candidates that came before the description that they belong to. */
  #early: RTCIceCandidateInit[] = [];
  /** Descriptions and candidates are applied one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(
    iceServers: RTCIceServer[],
    readonly tracks: Tracks,
    public status: Status,
    readonly handlers: Handlers,
  ) {
    const connection = (this.#connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" }));
    this.#channel = connection.createDataChannel("status", { negotiated: true, id: 0 });
    this.#channel.onopen = () => this.tell(this.status);
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => this.#hear(data);
    connection.onicecandidate = ({ candidate }) => this.#find(candidate);
    connection.ontrack = ({ track }) => this.#receive(track);
    connection.onconnectionstatechange = () => {
      const { connectionState: state } = connection;
      if (state === "connected" || state === "failed") handlers.state(state);
      if (state === "disconnected") handlers.state("interrupted");
    };
    this.#audio.autoplay = true;
  }

  get remote(): RemoteView {
    return this.#remote;
  }

  /** Makes an offer. Resolves to `undefined` if the connection is closed meanwhile. */
  offer(isRestart: boolean): Promise<string | undefined> {
    return this.#do(async () => {
      const connection = this.#connection;
      if (connection.getTransceivers().length === 0) {
        connection.addTransceiver(this.tracks.audio ?? "audio", { direction: "sendrecv" });
        connection.addTransceiver(this.tracks.video ?? "video", { direction: "sendrecv" });
      }
      await connection.setLocalDescription(await connection.createOffer({ iceRestart: isRestart }));
      return connection.localDescription?.sdp;
    });
  }

  /** Takes an offer, and returns the answer. */
  answer(sdp: string): Promise<string | undefined> {
    return this.#do(async () => {
      const connection = this.#connection;
      await connection.setRemoteDescription({ type: "offer", sdp });
      for (const transceiver of connection.getTransceivers()) {
        if (transceiver.direction === "sendrecv") continue;
        transceiver.direction = "sendrecv";
        await transceiver.sender.replaceTrack((transceiver.receiver.track.kind === "audio" ? this.tracks.audio : this.tracks.video) ?? null);
      }
      await connection.setLocalDescription(await connection.createAnswer());
      await this.#addEarly();
      return connection.localDescription?.sdp;
    });
  }

  takeAnswer(sdp: string): void {
    void this.#do(async () => {
      await this.#connection.setRemoteDescription({ type: "answer", sdp });
      await this.#addEarly();
      return undefined;
    });
  }

  takeCandidates(candidates: readonly RTCIceCandidateInit[]): void {
    void this.#do(async () => {
      this.#early.push(...candidates);
      if (this.#connection.remoteDescription) await this.#addEarly();
      return undefined;
    });
  }

  /** Sends another track from now on. */
  replace(kind: "audio" | "video", track: MediaStreamTrack | null): void {
    for (const { sender, receiver } of this.#connection.getTransceivers()) {
      if (receiver.track.kind === kind) void sender.replaceTrack(track).catch(() => {});
    }
  }

  /** Tells the other device whether this one is muted and shows a picture. */
  tell(status: Status): void {
    this.status = status;
    this.#say({ isMuted: status.isMuted, isCameraOn: status.isCameraOn });
  }

  /** Tells the other device that this one leaves: faster than a signal, and also where there is no server to carry it. */
  sayGoodbye(): void {
    this.#say({ isLeaving: true });
  }

  setOutput(device: string): void {
    if ("setSinkId" in this.#audio) void this.#audio.setSinkId(device).catch(() => {});
  }

  close(): void {
    clearTimeout(this.#batch);
    const connection = this.#connection;
    connection.onconnectionstatechange = connection.onicecandidate = connection.ontrack = null;
    this.#channel.onmessage = null;
    this.#audio.srcObject = null;
    connection.close();
  }

  #find(candidate: RTCIceCandidate | null): void {
    if (candidate?.candidate) this.#found.push(candidate.toJSON());
    this.#batch ??= setTimeout(() => {
      this.#batch = undefined;
      if (this.#found.length > 0) this.handlers.candidates(this.#found.splice(0));
    }, BATCH_MS);
  }

  async #addEarly(): Promise<void> {
    for (const candidate of this.#early.splice(0)) {
      // A candidate of an earlier round is refused, which does no harm.
      await this.#connection.addIceCandidate(candidate).catch(() => {});
    }
  }

  #receive(track: MediaStreamTrack): void {
    if (track.kind === "audio") {
      this.#audio.srcObject = new MediaStream([track]);
      void this.#audio.play().catch(() => {});
      return;
    }
    for (const old of this.#picture.getTracks()) this.#picture.removeTrack(old);
    this.#picture.addTrack(track);
    this.#update({ picture: this.#picture });
  }

  #hear(data: unknown): void {
    if (typeof data !== "string") return;
    try {
      const { isMuted, isCameraOn, isLeaving } = JSON.parse(data) as Partial<Status & { isLeaving: boolean }>;
      if (isLeaving === true) return this.handlers.left();
      this.#update({ isMuted: isMuted === true, isCameraOn: isCameraOn === true });
    } catch {
      // Something else than this version says.
    }
  }

  #say(said: object): void {
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(said));
  }

  #update(change: Partial<RemoteView>): void {
    this.#remote = { ...this.#remote, ...change };
    this.handlers.changed();
  }

  #do(step: () => Promise<string | undefined>): Promise<string | undefined> {
    // What fails is tried again with a new offer.
    const result = this.#work.then(step).catch(() => undefined);
    this.#work = result.then(() => {});
    return result;
  }
}
