/** The calls that a {@link SocketFactory} makes. No call may follow `close`. */
export interface SocketHandlers {
  open(): void;
  message(bytes: Uint8Array): void;
  /** The socket has closed; without a code if it was lost or never opened. */
  close(code: number | undefined, reason: string): void;
}

/** The part of a WebSocket that the client needs. */
export interface Socket {
  send(bytes: Uint8Array): void;
  /** Closes the socket, even while it opens. */
  close(code: number, reason: string): void;
  /** The number of bytes that wait to be sent, if the platform reports it. */
  readonly bufferedAmount?: number;
}

/** Opens a WebSocket with the subprotocol `im.v1`. For platforms without `WebSocket`, such as mini-programs. */
export type SocketFactory = (url: string, protocol: string, handlers: SocketHandlers) => Socket;

/** The part of the standard `WebSocket` class that {@link webSocket} uses. The class of the package `ws` has it too. */
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
      // An abandoned attempt reports an error, which `ws` throws if there is no listener.
      socket.onerror = () => {};
    };
    socket.onopen = () => handlers.open();
    socket.onmessage = ({ data }: { data: unknown }) => {
      // Text messages violate the protocol; these bytes, which are not a frame, cause the refusal.
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
