import type { CallState, MediaProblem } from "../machine/types";
import { formatDuration, type Translate } from "../../text";

type Live = Exclude<CallState, { phase: "idle" }>;

/** Returns in a few words where a call is. The duration of an active one stands elsewhere. */
export function statusOf(t: Translate, state: Live, name: string): string {
  const { call } = state;
  switch (state.phase) {
    case "preparing":
      return t(call.kind === "video" ? "call.preparingVideo" : "call.preparing");
    case "calling":
      return t("call.calling");
    case "ringing":
      return t(call.kind === "video" ? "call.incomingVideo" : "call.incomingAudio");
    case "connecting":
      return t("call.connecting");
    case "active":
      return state.isReconnecting ? t("call.reconnecting") : "";
    case "ended":
      return endOf(t, state, name);
  }
}

function endOf(t: Translate, { call, reason, seconds }: Extract<CallState, { phase: "ended" }>, name: string): string {
  const isOutgoing = call.direction === "outgoing";
  if (reason === "hung_up") return seconds > 0 ? t("call.endedAfter", { duration: formatDuration(seconds * 1000) }) : t("call.hung_up");
  if (reason === "cancelled") return t(isOutgoing ? "call.cancelled" : "call.missed");
  if (reason === "declined") return isOutgoing ? t("call.theyDeclined", { name }) : t("call.declined");
  if (reason === "busy") return t("call.busy", { name });
  return t(`call.${reason}`);
}

/** Returns what to do about a microphone that cannot be used. */
export function microphoneText(t: Translate, problem: MediaProblem): string {
  switch (problem) {
    case "denied":
      return t("call.micDenied");
    case "missing":
      return t("call.micMissing");
    case "in_use":
      return t("call.micInUse");
    case "insecure":
      return t("call.insecure");
    case "unknown":
      return t("call.micUnknown");
  }
}

/** Returns why there is no picture of the user. */
export function cameraText(t: Translate, problem: MediaProblem): string {
  switch (problem) {
    case "denied":
      return t("call.camDenied");
    case "missing":
      return t("call.camMissing");
    case "in_use":
      return t("call.camInUse");
    case "insecure":
      return t("call.insecure");
    case "unknown":
      return t("call.camUnknown");
  }
}
