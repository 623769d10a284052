import type { MessageId } from "@im-sdk/client";
import { useCallback, useRef, useState, useSyncExternalStore, type KeyboardEvent, type PointerEvent, type ReactNode, type WheelEvent } from "react";
import { useFileLinks } from "../../api";
import { classes, Icon, IconButton, Spinner } from "../../design";
import { formatDateTime, useText } from "../../text";
import { useName } from "../names";
import { usePane } from "../pane/context";
import styles from "./viewer.module.css";

const MOST_SCALE = 8;

interface View {
  readonly scale: number;
  readonly x: number;
  readonly y: number;
}

const WHOLE: View = { scale: 1, x: 0, y: 0 };

/** Shows the pictures of a conversation large, one after the other. */
export default function MediaViewer({ first, onClose }: { readonly first: MessageId; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const pane = usePane();
  const { messages } = useSyncExternalStore(pane.window.subscribe, pane.window.getSnapshot);
  const pictures = messages.filter(({ content }) => content?.image);
  const [id, setId] = useState(first);
  const [view, setView] = useState(WHOLE);
  const drag = useRef<{ readonly x: number; readonly y: number; readonly view: View }>(undefined);
  const at = pictures.findIndex((message) => message.id === id);
  const message = pictures[at];
  const image = message?.content?.image;
  const url = image?.media?.url ?? "";
  const link = useFileLinks(url ? [url] : []).get(url);
  const name = useName(message?.from);
  const show = useCallback((dialog: HTMLDialogElement | null) => {
    dialog?.showModal();
    return () => dialog?.close();
  }, []);

  const go = (step: number): void => {
    const next = pictures[at + step];
    if (!next) return;
    setId(next.id);
    setView(WHOLE);
  };
  const zoom = (by: number): void => {
    const scale = Math.min(MOST_SCALE, Math.max(1, view.scale * by));
    setView(scale === 1 ? WHOLE : { scale, x: (view.x * scale) / view.scale, y: (view.y * scale) / view.scale });
  };
  const keyed = (event: KeyboardEvent): void => {
    const keys: Record<string, () => void> = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => setView(WHOLE) };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  const pressed = (event: PointerEvent<HTMLElement>): void => {
    drag.current = { x: event.clientX, y: event.clientY, view };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const moved = (event: PointerEvent): void => {
    const { current } = drag;
    if (!current || current.view.scale === 1) return;
    setView({ ...current.view, x: current.view.x + event.clientX - current.x, y: current.view.y + event.clientY - current.y });
  };
  const released = (event: PointerEvent): void => {
    const { current } = drag;
    drag.current = undefined;
    if (!current) return;
    const [x, y] = [event.clientX - current.x, event.clientY - current.y];
    const isClick = Math.abs(x) + Math.abs(y) < 5;
    if (isClick) return view.scale > 1 ? setView(WHOLE) : zoom(2.5);
    if (current.view.scale === 1 && Math.abs(x) > 60 && Math.abs(x) > Math.abs(y)) go(x > 0 ? -1 : 1);
  };

  return (
    <dialog
      ref={show}
      className={styles.viewer}
      aria-label={t("chat.viewer")}
      onKeyDown={keyed}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <header className={styles.bar}>
        <p>
          <bdi>{message?.from === pane.client.user ? t("chat.you") : name}</bdi>
          {message && <time dateTime={new Date(message.at).toISOString()}>{formatDateTime(message.at)}</time>}
        </p>
        <IconButton icon="zoom" label={t("chat.zoom")} onClick={() => (view.scale > 1 ? setView(WHOLE) : zoom(2.5))} />
        {link && (
          <a className={styles.download} href={link.download} download={image?.media?.name} aria-label={t("chat.download")} title={t("chat.download")}>
            <Icon name="download" />
          </a>
        )}
        <IconButton icon="close" label={t("close")} autoFocus onClick={onClose} />
      </header>
      <div className={styles.stage} onPointerDown={pressed} onPointerMove={moved} onPointerUp={released} onWheel={(event: WheelEvent) => zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2)}>
        {link && image ? (
          <img
            key={url}
            className={classes(view.scale > 1 && styles.zoomed)}
            src={link.url}
            alt={image.caption || image.media?.name || t("chat.kindImage")}
            width={image.width || undefined}
            height={image.height || undefined}
            draggable={false}
            style={{ transform: `translate(${view.x}px, ${view.y}px) scale(${view.scale})` }}
          />
        ) : (
          <Spinner size={32} label={t("chat.kindImage")} />
        )}
      </div>
      {image?.caption && (
        <p className={styles.caption} dir="auto">
          {image.caption}
        </p>
      )}
      {at > 0 && <IconButton icon="chevron-left" size={28} className={styles.previous} label={t("chat.previousMedia")} onClick={() => go(-1)} />}
      {at < pictures.length - 1 && <IconButton icon="chevron-right" size={28} className={styles.next} label={t("chat.nextMedia")} onClick={() => go(1)} />}
    </dialog>
  );
}
