import type { ReactNode } from "react";
import { useText } from "../../text";
import type { CallController } from "../CallController";
import { canChooseOutput, type DeviceKind } from "../media/devices";
import type { LocalView } from "../media/LocalMedia";
import styles from "./DevicePicker.module.css";

/** Chooses microphone, camera and speaker. */
export function DevicePicker({ controller, local }: { readonly controller: CallController; readonly local: LocalView }): ReactNode {
  const t = useText();
  const kinds: readonly { readonly kind: DeviceKind; readonly label: string }[] = [
    { kind: "audioinput", label: t("call.microphone") },
    { kind: "videoinput", label: t("call.camera") },
    ...(canChooseOutput() ? [{ kind: "audiooutput", label: t("call.speaker") } as const] : []),
  ];
  return (
    <div className={styles.picker}>
      {kinds.map(({ kind, label }, index) => {
        const devices = local.devices.filter((device) => device.kind === kind);
        return (
          <label key={kind}>
            <span>{label}</span>
            <select data-autofocus={index === 0 || undefined} value={devices.some(({ deviceId }) => deviceId === local.chosen[kind]) ? local.chosen[kind] : ""} onChange={(event) => controller.choose(kind, event.target.value)}>
              <option value="">{t("call.browserChoice")}</option>
              {devices.map(({ deviceId, label: name }, place) => (
                <option key={deviceId} value={deviceId}>
                  {name || `${label} ${place + 1}`}
                </option>
              ))}
            </select>
          </label>
        );
      })}
    </div>
  );
}
