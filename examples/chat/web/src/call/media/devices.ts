/** Kinds of devices that the user can choose. */
export type DeviceKind = "audioinput" | "videoinput" | "audiooutput";

const KEY = "chat.call.devices";
const NONE: Readonly<Record<DeviceKind, string>> = { audioinput: "", videoinput: "", audiooutput: "" };

/** Returns the ids of the devices that were chosen last; empty for the browser's choice. */
export function remembered(): Readonly<Record<DeviceKind, string>> {
  try {
    return { ...NONE, ...(JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Record<DeviceKind, string>>) };
  } catch {
    return NONE;
  }
}

export function remember(chosen: Readonly<Record<DeviceKind, string>>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(chosen));
  } catch {
    // Without storage the choice holds for this call.
  }
}

/** Returns whether the browser lets a page choose the loudspeaker. */
export function canChooseOutput(): boolean {
  return "setSinkId" in HTMLMediaElement.prototype;
}
