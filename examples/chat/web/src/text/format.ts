import { currentLanguage } from "./mechanism";
import type { Language } from "./define";

const DAY_MS = 86_400_000;
const locale = (language: Language): string => (language === "zh" ? "zh-CN" : navigator.language.startsWith("en") ? navigator.language : "en-GB");

const made = new Map<string, Intl.DateTimeFormat>();

/** Makes a format once: that costs more than its use. */
function dateFormat(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = currentLanguage() + JSON.stringify(options);
  const format = made.get(key) ?? new Intl.DateTimeFormat(locale(currentLanguage()), options);
  made.set(key, format);
  return format;
}

const midnight = (ms: number): number => new Date(ms).setHours(0, 0, 0, 0);

/** Returns the time of day, such as "14:05". */
export function formatTime(ms: number): string {
  return dateFormat({ hour: "numeric", minute: "2-digit" }).format(ms);
}

/** Returns the day as a separator shows it: "Today", "Yesterday", "Monday", "3 May", "3 May 2024". */
export function formatDay(ms: number, nowMs = Date.now()): string {
  const days = Math.round((midnight(nowMs) - midnight(ms)) / DAY_MS);
  if (days === 0 || days === 1) {
    const text = new Intl.RelativeTimeFormat(locale(currentLanguage()), { numeric: "auto" }).format(-days, "day");
    return text.charAt(0).toLocaleUpperCase() + text.slice(1);
  }
  if (days > 1 && days < 7) return dateFormat({ weekday: "long" }).format(ms);
  const isThisYear = new Date(ms).getFullYear() === new Date(nowMs).getFullYear();
  return dateFormat({ day: "numeric", month: "short", ...(isThisYear ? {} : { year: "numeric" }) }).format(ms);
}

/** Returns the time of today, or else the day: for lists. */
export function formatWhen(ms: number, nowMs = Date.now()): string {
  return midnight(ms) === midnight(nowMs) ? formatTime(ms) : formatDay(ms, nowMs);
}

/** Returns day and time in full: for tooltips and details. */
export function formatDateTime(ms: number): string {
  return dateFormat({ dateStyle: "medium", timeStyle: "short" }).format(ms);
}

/** Returns a size such as "1.4 MB". */
export function formatBytes(bytes: number): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"] as const;
  const rank = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  const value = bytes / 1000 ** rank;
  return new Intl.NumberFormat(locale(currentLanguage()), { style: "unit", unit: units[rank] ?? "byte", unitDisplay: rank === 0 ? "long" : "short", maximumFractionDigits: rank === 0 || value >= 10 ? 0 : 1 }).format(value);
}

/** Returns a length of time such as "1:05" or "1:02:03". */
export function formatDuration(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1000));
  const [hours, minutes, seconds] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  const tail = String(seconds).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}
