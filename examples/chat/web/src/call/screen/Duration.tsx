import { useSyncExternalStore, type ReactNode } from "react";
import { formatDuration } from "../../text";

function everySecond(listener: () => void): () => void {
  const timer = setInterval(listener, 1000);
  return () => clearInterval(timer);
}

const second = (): number => Math.floor(Date.now() / 1000);

/** How long something has gone on. */
export function Duration({ since }: { readonly since: number }): ReactNode {
  const now = useSyncExternalStore(everySecond, second);
  return <span style={{ fontVariantNumeric: "tabular-nums" }}>{formatDuration(now * 1000 - since)}</span>;
}
