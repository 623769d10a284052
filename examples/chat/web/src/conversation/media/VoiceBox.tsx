import type { proto } from "@im-sdk/client";
import { useMemo, type CSSProperties, type KeyboardEvent, type ReactNode } from "react";
import { useFileLinks } from "../../api";
import { IconButton } from "../../design";
import { formatDuration, useText } from "../../text";
import { useStore } from "../store";
import styles from "./media.module.css";
import { voicePlayer } from "./player";

const BARS = 40;
const STEP_MS = 3000;

/** A voice note: plays, seeks and shows its loudness. */
export function VoiceBox({ voice }: { readonly voice: proto.Voice }): ReactNode {
  const t = useText();
  const url = voice.media?.url ?? "";
  const link = useFileLinks([url]).get(url);
  const isMine = useStore(voicePlayer.state, (state) => state.url === url);
  const isPlaying = useStore(voicePlayer.state, (state) => state.url === url && state.isPlaying);
  const atMs = useStore(voicePlayer.state, (state) => (state.url === url ? state.atMs : 0));
  const rate = useStore(voicePlayer.state, (state) => state.rate);
  const bars = useMemo(() => barsOf(voice.waveform), [voice.waveform]);
  const done = voice.durationMs > 0 ? Math.min(1, atMs / voice.durationMs) : 0;
  const seek = (part: number): void => {
    if (isMine) voicePlayer.seek(Math.max(0, Math.min(1, part)) * voice.durationMs);
  };
  const keyed = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? STEP_MS : event.key === "ArrowLeft" ? -STEP_MS : 0;
    if (step === 0 || !isMine) return;
    event.preventDefault();
    event.stopPropagation();
    voicePlayer.seek(Math.max(0, atMs + step));
  };
  return (
    <div className={styles["voice"]}>
      <IconButton icon={isPlaying ? "pause" : "play"} kind="primary" label={isPlaying ? t("chat.pause") : t("chat.playVoice")} disabled={!link} onClick={() => link && voicePlayer.toggle(url, link.url)} />
      <div
        className={styles["wave"]}
        role="slider"
        tabIndex={isMine ? 0 : -1}
        aria-label={t("chat.position")}
        aria-valuemin={0}
        aria-valuemax={Math.round(voice.durationMs / 1000)}
        aria-valuenow={Math.round(atMs / 1000)}
        onKeyDown={keyed}
        onClick={(event) => {
          const { left, width } = event.currentTarget.getBoundingClientRect();
          seek((event.clientX - left) / width);
        }}
      >
        {bars.map((height, index) => (
          <i key={index} style={{ "--bar": height } as CSSProperties} data-done={index / BARS < done || undefined} />
        ))}
      </div>
      <span className={styles["time"]}>{formatDuration(isMine && atMs > 0 ? atMs : voice.durationMs)}</span>
      {isMine && (
        <button type="button" className={styles["rate"]} aria-label={t("chat.speed", { rate: `${rate}×` })} onClick={() => voicePlayer.faster()}>
          {rate}×
        </button>
      )}
    </div>
  );
}

/** Returns heights from 0 to 1. */
function barsOf(waveform: Uint8Array): number[] {
  return Array.from({ length: BARS }, (_, index) => {
    if (waveform.length === 0) return 0.25;
    return Math.max(0.12, (waveform[Math.floor((index * waveform.length) / BARS)] ?? 0) / 255);
  });
}
