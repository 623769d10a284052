import type { Client, Signalled } from "@im-sdk/client";
import { api } from "../api";
import type { CallController, StartResult } from "./CallController";
import type { CallKind } from "./machine/types";

const askIceServers = async (): Promise<RTCIceServer[]> => (await api.get<{ iceServers: RTCIceServer[] }>("/api/ice")).iceServers;

/** Loads what calls need when the first one rings or is made. */
export class CallService {
  #loading: Promise<CallController> | undefined;
  #controller: CallController | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(readonly client: Client) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getController = (): CallController | undefined => this.#controller;

  /** Listens to signals. Returns a function that ends that, and the call. */
  readonly run = (): (() => void) => {
    const stop = this.client.subscribe((event) => {
      if (event.type === "signal" && event.signal.call) void this.#receive(event.signal);
    });
    return () => {
      stop();
      this.#controller?.close();
      this.#loading = this.#controller = undefined;
      this.#tell();
    };
  };

  async start(user: string, kind: CallKind): Promise<StartResult> {
    return (await this.#load()).start(user, kind);
  }

  async #receive(signal: Signalled): Promise<void> {
    // Without the code, as over a bad connection, the call cannot be answered here.
    const controller = await this.#load().catch(() => undefined);
    controller?.receive(signal);
  }

  #load(): Promise<CallController> {
    const loading = (this.#loading ??= this.#make().catch((error: unknown) => {
      // The next call tries again.
      this.#loading = undefined;
      throw error;
    }));
    return loading;
  }

  async #make(): Promise<CallController> {
    const { CallController: Controller } = await import("./CallController");
    this.#controller = new Controller(this.client, askIceServers);
    this.#tell();
    return this.#controller;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
