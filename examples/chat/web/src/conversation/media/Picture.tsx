import type { proto } from "@im-sdk/client";
import type { ReactNode } from "react";
import { useFileLinks } from "../../api";
import { Icon } from "../../design";
import { formatDuration, useText } from "../../text";
import { boxOf } from "./box";
import styles from "./media.module.css";

/** A picture, or the first frame of a video that is played large. */
export function Picture({ image, onView }: { readonly image: proto.Image; readonly onView: () => void }): ReactNode {
  const t = useText();
  const url = image.media?.url ?? "";
  const link = useFileLinks([url]).get(url);
  const { width, height } = boxOf(image.width, image.height);
  // A small picture needs no thumbnail, and an animation shows itself.
  const source = image.media?.mimeType === "image/gif" ? link?.url : (link?.thumbnail ?? link?.url);
  return (
    <button type="button" className={styles["picture"]} style={{ width, aspectRatio: `${width} / ${height}` }} onClick={onView} aria-label={t("chat.viewImage")}>
      {source && <img src={source} alt={image.caption || image.media?.name || t("chat.kindImage")} width={width} height={height} decoding="async" draggable={false} />}
    </button>
  );
}

/** A video that plays where it stands. */
export function VideoBox({ video, onPlaying }: { readonly video: proto.Video; readonly onPlaying: (isPlaying: boolean) => void }): ReactNode {
  const t = useText();
  const url = video.media?.url ?? "";
  const link = useFileLinks([url]).get(url);
  const { width, height } = boxOf(video.width, video.height);
  return (
    <div className={styles["picture"]} style={{ width, aspectRatio: `${width} / ${height}` }}>
      {link ? (
        <video
          src={link.url}
          poster={link.thumbnail ?? undefined}
          controls
          playsInline
          preload="none"
          aria-label={video.caption || t("chat.kindVideo")}
          onPlay={() => onPlaying(true)}
          onPause={() => onPlaying(false)}
          onEnded={() => onPlaying(false)}
        />
      ) : (
        <span className={styles["waiting"]}>
          <Icon name="video" size={28} />
        </span>
      )}
      {video.durationMs > 0 && <span className={styles["length"]}>{formatDuration(video.durationMs)}</span>}
    </div>
  );
}
