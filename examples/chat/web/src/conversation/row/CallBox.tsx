import type { proto } from "@im-sdk/client";
import type { ReactNode } from "react";
import { Icon } from "../../design";
import { formatDuration, useText } from "../../text";
import styles from "./row.module.css";

/** How a call went, as the caller's device reports it. */
interface CallReport {
  readonly kind: "audio" | "video";
  readonly seconds: number;
  readonly outcome: string;
}

/** Reads a report. It is another user's word, so nothing in it is taken for granted. */
export function callReportOf({ kind, data }: proto.Custom): CallReport | undefined {
  if (kind !== "call.ended") return undefined;
  try {
    const report = JSON.parse(new TextDecoder().decode(data)) as Partial<Record<keyof CallReport, unknown>> | null;
    if (typeof report?.outcome !== "string") return undefined;
    const seconds = typeof report.seconds === "number" && report.seconds > 0 ? report.seconds : 0;
    return { kind: report.kind === "video" ? "video" : "audio", seconds, outcome: report.outcome };
  } catch {
    return undefined;
  }
}

/** A call that has ended. */
export function CallBox({ report: { kind, seconds, outcome }, isOwn }: { readonly report: CallReport; readonly isOwn: boolean }): ReactNode {
  const t = useText();
  const name = kind === "video" ? t("call.video") : t("call.audio");
  const isAnswered = outcome === "answered";
  const says = isAnswered ? formatDuration(seconds * 1000) : outcome === "declined" ? t("chat.callDeclined") : isOwn ? t("chat.callNotAnswered") : t("chat.callMissed");
  return (
    <p className={styles.card}>
      <span className={styles.cardIcon}>
        <Icon name={isAnswered ? (kind === "video" ? "video" : "phone") : "phone-off"} />
      </span>
      <span className={styles.cardText}>
        <bdi>{name}</bdi>
        <small>{says}</small>
      </span>
    </p>
  );
}
