import type { Content } from "@im-sdk/client";
import { lazy, Suspense, useState, type ReactNode } from "react";
import { Icon, Skeleton } from "../../design";
import { useText } from "../../text";
import { FileBox } from "../media/FileBox";
import { Picture, VideoBox } from "../media/Picture";
import { VoiceBox } from "../media/VoiceBox";
import { useMentionNames } from "../names";
import { RichText } from "../richtext/RichText";
import { CallBox, callReportOf } from "./CallBox";
import { CardBox, LocationBox } from "./CardBox";
import styles from "./row.module.css";

const ForwardedDialog = lazy(() => import("../panels/ForwardedDialog"));

export interface BodyProps {
  readonly content: Content;
  readonly me: string;
  readonly isOwn?: boolean;
  readonly isOpen: boolean;
  readonly onOpen: () => void;
  /** Time and status, at the end of the last line of the text, or below the rest. */
  readonly tail?: ReactNode;
  readonly onView: () => void;
  readonly onPlaying: (isPlaying: boolean) => void;
}

/** What a message says, of any kind. */
export function Body({ content, me, isOwn = false, isOpen, onOpen, onView, onPlaying, tail }: BodyProps): ReactNode {
  const t = useText();
  const mentions = useMentionNames(content.mentions);
  const text = (said: string): ReactNode => (said === "" ? tail : <RichText text={said} mentions={mentions} me={me} isOpen={isOpen} onOpen={onOpen} tail={tail} />);
  if (content.text) return text(content.text.text);
  if (content.image) {
    return (
      <>
        <Picture image={content.image} onView={onView} />
        <div className={styles.caption}>{text(content.image.caption)}</div>
      </>
    );
  }
  if (content.video) {
    return (
      <>
        <VideoBox video={content.video} onPlaying={onPlaying} />
        <div className={styles.caption}>{text(content.video.caption)}</div>
      </>
    );
  }
  if (content.file) {
    return (
      <>
        <FileBox file={content.file} />
        {text(content.file.caption)}
      </>
    );
  }
  if (content.voice) {
    return (
      <>
        <VoiceBox voice={content.voice} />
        {tail}
      </>
    );
  }
  if (content.card) {
    return (
      <>
        <CardBox card={content.card} />
        {tail}
      </>
    );
  }
  if (content.location) {
    return (
      <>
        <LocationBox location={content.location} />
        {tail}
      </>
    );
  }
  if (content.forwarded) {
    return (
      <>
        <ForwardedBox forwarded={content.forwarded} />
        {tail}
      </>
    );
  }
  const call = content.custom && callReportOf(content.custom);
  if (call) {
    return (
      <>
        <CallBox report={call} isOwn={isOwn} />
        {tail}
      </>
    );
  }
  return (
    <>
      <p className={styles.unknown}>{t("chat.unknownKind")}</p>
      {tail}
    </>
  );
}

const PREVIEWED = 3;

function ForwardedBox({ forwarded }: { readonly forwarded: NonNullable<Content["forwarded"]> }): ReactNode {
  const t = useText();
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={styles.bundle} onClick={() => setOpen(true)}>
        <span className={styles.bundleTitle}>
          <Icon name="forward" size={16} />
          <bdi>{forwarded.title || t("chat.forwardedMessages", { count: forwarded.entries.length })}</bdi>
        </span>
        {forwarded.entries.slice(0, PREVIEWED).map((entry, index) => (
          <span key={index} className={styles.bundleLine} dir="auto">
            <bdi>{entry.name || entry.from}</bdi>: {entry.content?.text?.text.slice(0, 80) ?? "…"}
          </span>
        ))}
        <small>{t("chat.showMessages", { count: forwarded.entries.length })}</small>
      </button>
      {isOpen && (
        <Suspense fallback={<Skeleton height={20} />}>
          <ForwardedDialog forwarded={forwarded} onClose={() => setOpen(false)} />
        </Suspense>
      )}
    </>
  );
}
