/** What a {@link SocketFactory} is told to call. Nothing may be called after `close`. */
export interface SocketHandlers {
  open(): void;
  message(bytes: Uint8Array): void;
  /** The socket ended; without a code: it was lost, or never opened. */
  close(code: number | undefined, reason: string): void;
}

/** A WebSocket, as far as the client needs it. */
export interface Socket {
  send(bytes: Uint8Array): void;
  /** Ends it, also while it opens. */
  close(code: number, reason: string): void;
  /** Bytes that wait to be sent, where the platform tells. */
  readonly bufferedAmount?: number;
}

/** Opens a WebSocket with the subprotocol `im.v1`. For platforms whose sockets are no `WebSocket`, such as mini-programs. */
export type SocketFactory = (url: string, protocol: string, handlers: SocketHandlers) => Socket;

/** The part of the standard `WebSocket` class that {@link webSocket} uses. The one of the package `ws` has it too. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** A class of WebSockets. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

const MAX_REASON_BYTES = 123;

/**
 * Returns a factory of standard WebSockets.
 *
 * ```ts
 * import { WebSocket } from "ws"; // Node before version 22 has no WebSocket of its own
 * const client = await Client.open({ socket: webSocket(WebSocket), ... });
 * ```
 */
export function webSocket(socketClass: WebSocketClass): SocketFactory {
  return (url, protocol, handlers) => {
    const socket = new socketClass(url, [protocol]);
    socket.binaryType = "arraybuffer";
    const cut = (): void => {
      socket.onopen = socket.onmessage = socket.onclose = null;
      // An attempt that is given up reports an error, which `ws` would throw if nobody listened.
      socket.onerror = () => {};
    };
    socket.onopen = () => handlers.open();
    socket.onmessage = ({ data }: { data: unknown }) => {
      // A text message is against the protocol; as bytes that are no frame it is refused.
      handlers.message(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array([0xff]));
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      cut();
      handlers.close(code >= 3000 ? code : undefined, reason);
    };
    return {
      send: (bytes) => socket.send(bytes as Uint8Array<ArrayBuffer>),
      close: (code, reason) => {
        cut();
        try {
          socket.close(code, short(reason));
        } catch {
          socket.close();
        }
      },
      get bufferedAmount() {
        return socket.bufferedAmount;
      },
    };
  };
}

function short(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  return bytes.length <= MAX_REASON_BYTES ? reason : new TextDecoder().decode(bytes.subarray(0, MAX_REASON_BYTES - 3)).replace(/\ufffd/g, "");
}
