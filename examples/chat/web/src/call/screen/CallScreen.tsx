import { useSyncExternalStore, type ReactNode } from "react";
import type { CallController } from "../CallController";
import { CallWindow } from "./CallWindow";
import { EndCard } from "./EndCard";
import { IncomingCall } from "./IncomingCall";

/** Shows the present call. */
export default function CallScreen({ controller }: { readonly controller: CallController }): ReactNode {
  const view = useSyncExternalStore(controller.subscribe, controller.getSnapshot);
  const { state } = view;
  if (state.phase === "idle") return null;
  if (state.phase === "ringing") return <IncomingCall key={state.call.id} controller={controller} call={state.call} problem={state.problem} />;
  // Calls that were not answered here end with a line.
  if (state.phase === "ended" && state.call.direction === "incoming" && state.reason !== "hung_up" && state.reason !== "lost" && state.reason !== "unreachable") {
    return <EndCard state={state} onClose={() => controller.end()} />;
  }
  return <CallWindow controller={controller} view={{ ...view, state }} />;
}
