import { useCallback, type ReactNode } from "react";
import { classes } from "../../design";
import styles from "./Picture.module.css";

/** A moving picture. It makes no sound: that goes on while nothing is shown. */
export function Picture({ stream, label, isMirrored = false, isFilling = false }: { readonly stream: MediaStream; readonly label: string; readonly isMirrored?: boolean; readonly isFilling?: boolean }): ReactNode {
  const show = useCallback(
    (video: HTMLVideoElement | null) => {
      if (!video) return;
      video.srcObject = stream;
      // It plays by itself; some browsers want to be asked after a change of the stream.
      void video.play().catch(() => {});
      return () => {
        video.srcObject = null;
      };
    },
    [stream],
  );
  return <video ref={show} className={classes(styles.picture, isMirrored && styles.mirrored, isFilling && styles.filling)} aria-label={label} autoPlay playsInline muted />;
}
