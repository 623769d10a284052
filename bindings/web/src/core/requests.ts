/**
 * Requests to the back ends: sent as soon as there is a connection, and again over the next one, until they are answered or time
 * out. A repeated request has the effect of one.
 */
import type { Init } from "../codec.js";
import { ImError } from "../errors.js";
import type { Frame, Request, Response } from "../proto.js";
import { refusalOf } from "./outbox.js";
import { earliest, type Random } from "./timing.js";

/** A request, without its number. */
export type Question = Omit<Init<Request>, "number">;

/** The origin of a request: a ticket of the application, or the core itself. */
export type Asker = number | "marks" | "changes" | "rooms";

/** The outcome of a request. */
export interface Answered {
  readonly asker: Asker;
  readonly question: Question;
  readonly response?: Response;
  readonly error?: ImError;
}

interface Waiting {
  readonly asker: Asker;
  readonly question: Question;
  readonly askedAt: number;
  readonly deadline: number;
  state: "ready" | "sent" | "delayed";
  at: number;
}

const MAX_QUEUED = 256;
/** Half of what servers allow, so that an abandoned request that is answered late does not cause a refusal of another. */
const MAX_SENT = 4;
const ANSWERS = {
  history: "history",
  search: "found",
  joinRoom: "joinedRoom",
  leaveRoom: "done",
  watch: "presences",
  conversations: "conversations",
  mark: "marked",
  readers: "readers",
} as const;

/** Returns the subject of requests that must stay in order. */
function about(question: Question): string | undefined {
  const room = question.joinRoom?.channel ?? question.leaveRoom?.channel;
  return room !== undefined ? `#${room}` : question.watch ? "watch" : undefined;
}

/** All unanswered requests. */
export class Requests {
  readonly #waiting = new Map<number, Waiting>();
  #lastNumber = 0;

  constructor(readonly timeout: number) {}

  /** Takes a request. Returns an error if too many are waiting. */
  ask(now: number, asker: Asker, question: Question): ImError | undefined {
    if (typeof asker === "number" && this.#waiting.size >= MAX_QUEUED) {
      return new ImError("queue_full", `${MAX_QUEUED} requests wait for their answers: ask again when some of them are answered`);
    }
    const repeated = asker === "rooms" && [...this.#waiting.values()].some((waiting) => about(waiting.question) === about(question));
    if (!repeated) {
      const deadline = asker === "rooms" ? Infinity : now + this.timeout;
      this.#waiting.set(++this.#lastNumber, { asker, question, askedAt: now, deadline, state: "ready", at: 0 });
    }
    return undefined;
  }

  /** Returns the next frame to send. It counts as sent. Requests about the same room are sent one after the other. */
  pollTransmit(now: number): Init<Frame> | undefined {
    let sent = 0;
    for (const { state } of this.#waiting.values()) if (state === "sent") sent++;
    if (sent >= MAX_SENT) return undefined;
    const earlier = new Set<string>();
    for (const [number, waiting] of this.#waiting) {
      const subject = about(waiting.question);
      if (subject !== undefined && earlier.has(subject)) continue;
      if (subject !== undefined) earlier.add(subject);
      if (waiting.state !== "ready") continue;
      waiting.state = "sent";
      // The age of changes includes the time they have waited here.
      const marks = waiting.question.mark?.marks?.map((mark) => ({ ...mark, ageMs: (mark.ageMs ?? 0) + Math.floor(now - waiting.askedAt) }));
      return { request: { ...waiting.question, number, ...(marks ? { mark: { marks } } : {}) } };
    }
    return undefined;
  }

  /** Returns the request that a response answers; `undefined` if none is waiting for it. */
  handleResponse(now: number, random: Random, response: Response): Answered | undefined {
    const waiting = this.#waiting.get(response.number);
    if (!waiting) return undefined;
    const { asker, question } = waiting;
    if (response.refused) {
      const refusal = refusalOf(response.refused);
      const at = refusal.retryAfterMs > 0 ? now + refusal.retryAfterMs * (1 + random()) : Infinity;
      if (at < waiting.deadline) {
        waiting.state = "delayed";
        waiting.at = at;
        return undefined;
      }
      this.#waiting.delete(response.number);
      return { asker, question, error: new ImError("refused", `the request was refused: ${refusal.reason}`, refusal) };
    }
    const kind = Object.keys(ANSWERS).find((key) => question[key as keyof typeof ANSWERS]) as keyof typeof ANSWERS;
    if (!response[ANSWERS[kind]]) return undefined;
    this.#waiting.delete(response.number);
    return { asker, question, response };
  }

  handleConnectionLost(): void {
    for (const waiting of this.#waiting.values()) if (waiting.state === "sent") waiting.state = "ready";
  }

  handleTimeout(now: number): Answered[] {
    for (const waiting of this.#waiting.values()) if (waiting.state === "delayed" && waiting.at <= now) waiting.state = "ready";
    const seconds = this.timeout / 1000;
    return this.#fail(new ImError("timeout", `no answer came within ${seconds} s: check the connection and ask again`), (waiting) => waiting.deadline <= now);
  }

  /** Fails all requests. */
  failAll(error: ImError): Answered[] {
    return this.#fail(error, () => true);
  }

  pollTimeout(): number | undefined {
    let first: number | undefined;
    for (const { state, at, deadline } of this.#waiting.values()) first = earliest(first, state === "delayed" ? at : undefined, deadline);
    return first === Infinity ? undefined : first;
  }

  #fail(error: ImError, which: (waiting: Waiting) => boolean): Answered[] {
    const failed: Answered[] = [];
    for (const [number, waiting] of this.#waiting) {
      if (!which(waiting)) continue;
      this.#waiting.delete(number);
      failed.push({ asker: waiting.asker, question: waiting.question, error });
    }
    return failed;
  }
}
