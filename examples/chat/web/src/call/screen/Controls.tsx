import type { ReactNode } from "react";
import { useState } from "react";
import { IconButton, Popover } from "../../design";
import { useText } from "../../text";
import type { CallController } from "../CallController";
import type { LocalView } from "../media/LocalMedia";
import styles from "./CallWindow.module.css";
import { DevicePicker } from "./DevicePicker";

/** The buttons of a call. */
export function Controls({ controller, local }: { readonly controller: CallController; readonly local: LocalView | undefined }): ReactNode {
  const t = useText();
  const [anchor, setAnchor] = useState<Element>();
  return (
    <div className={styles.controls}>
      {local && (
        <>
          <IconButton icon={local.isMuted ? "mic-off" : "mic"} size={24} label={t(local.isMuted ? "call.unmute" : "call.mute")} isOn={local.isMuted} onClick={() => controller.setMuted(!local.isMuted)} />
          <IconButton
            icon={local.isCameraOn ? "video" : "video-off"}
            size={24}
            label={t(local.isCameraOn ? "call.cameraOff" : "call.cameraOn")}
            disabled={local.isCameraOpening}
            onClick={() => controller.setCamera(!local.isCameraOn)}
          />
          <IconButton icon="settings" size={24} label={t("call.devices")} aria-haspopup="dialog" aria-expanded={anchor !== undefined} onClick={(event) => setAnchor(anchor ? undefined : event.currentTarget)} />
        </>
      )}
      <IconButton icon="phone-off" size={24} kind="danger" label={t("call.hangUp")} onClick={() => controller.end()} />
      {anchor && local && (
        <Popover anchor={anchor} side="above" label={t("call.devices")} onClose={() => setAnchor(undefined)}>
          <DevicePicker controller={controller} local={local} />
        </Popover>
      )}
    </div>
  );
}
