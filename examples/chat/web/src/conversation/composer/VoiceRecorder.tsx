import { useEffect, useRef, useState, type CSSProperties, type ReactNode } from "react";
import { errorText, uploadFile } from "../../api";
import { IconButton, Spinner, useToast } from "../../design";
import { formatDuration, useText } from "../../text";
import type { Pane } from "../pane/Pane";
import styles from "./composer.module.css";
import { Recorder } from "./recorder";

const SHORTEST_MS = 600;
const LONGEST_MS = 10 * 60_000;

/** Records a voice note in the place of the text. Loaded when it is first used. */
export default function VoiceRecorder({ pane, thread, onDone }: { readonly pane: Pane; readonly thread: bigint; readonly onDone: () => void }): ReactNode {
  const t = useText();
  const toast = useToast();
  const recorder = useRef<Recorder>(undefined);
  const [view, setView] = useState<{ readonly ms: number; readonly levels: readonly number[] }>();
  const [isSending, setSending] = useState(false);
  const latest = useRef({ t, toast, onDone });
  latest.current = { t, toast, onDone };

  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setInterval> | undefined;
    Recorder.start().then(
      (started) => {
        if (isOver) return started.cancel();
        recorder.current = started;
        timer = setInterval(() => setView({ ms: started.elapsedMs, levels: started.recent }), 100);
      },
      () => {
        latest.current.toast(latest.current.t("chat.noMicrophone"), { kind: "danger" });
        latest.current.onDone();
      },
    );
    return () => {
      isOver = true;
      clearInterval(timer);
      recorder.current?.cancel();
    };
  }, []);

  const send = async (): Promise<void> => {
    const recording = recorder.current;
    if (!recording || recording.elapsedMs < SHORTEST_MS) return onDone();
    setSending(true);
    try {
      const { file, durationMs, waveform } = await recording.stop();
      const stored = await uploadFile(file);
      const media = { url: `/files/${stored.id}`, mimeType: stored.type, bytes: stored.bytes, name: stored.name };
      const content = { voice: { media, durationMs, waveform }, thread };
      const { localId } = await pane.client.send(pane.conversation, content);
      pane.window.sent(localId, content);
    } catch (error) {
      toast(errorText(error), { kind: "danger" });
    }
    onDone();
  };

  const isTooLong = (view?.ms ?? 0) > LONGEST_MS && !isSending;
  useEffect(() => {
    if (isTooLong) void send();
  }, [isTooLong]);

  return (
    <div className={styles.recorder} onKeyDown={(event) => event.key === "Escape" && onDone()}>
      <IconButton icon="trash" label={t("chat.discardRecording")} autoFocus disabled={isSending} onClick={onDone} />
      <span className={styles.recording} role="status">
        <span className="visually-hidden">{t("chat.recording")}</span>
        <span aria-hidden>{formatDuration(view?.ms ?? 0)}</span>
      </span>
      <span className={styles.levels} aria-hidden>
        {(view?.levels ?? []).map((level, index) => (
          <i key={index} style={{ "--bar": Math.max(0.08, level / 255) } as CSSProperties} />
        ))}
      </span>
      {isSending ? <Spinner label={t("chat.sendRecording")} /> : <IconButton icon="send" kind="primary" label={t("chat.sendRecording")} onClick={() => void send()} />}
    </div>
  );
}
