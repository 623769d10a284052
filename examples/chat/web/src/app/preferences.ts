import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

/** What the user has chosen on this device. */
export interface Preferences {
  readonly theme: Theme;
  /** Unset: Ctrl+Enter sends, and Enter begins a line. */
  readonly enterSends: boolean;
  readonly notifies: boolean;
  readonly plays: boolean;
}

const KEYS = { theme: "theme", enterSends: "enterSends", notifies: "notifies", plays: "playsSound" } as const;
const listeners = new Set<() => void>();
let preferences = read();

function read(): Preferences {
  const theme = localStorage.getItem(KEYS.theme);
  return {
    theme: theme === "light" || theme === "dark" ? theme : "system",
    enterSends: localStorage.getItem(KEYS.enterSends) !== "false",
    notifies: localStorage.getItem(KEYS.notifies) === "true",
    plays: localStorage.getItem(KEYS.plays) !== "false",
  };
}

function apply(): void {
  preferences = read();
  const { dataset } = document.documentElement;
  if (preferences.theme === "system") delete dataset["theme"];
  else dataset["theme"] = preferences.theme;
  for (const listener of listeners) listener();
}

/** Applies what was chosen, and follows what other tabs choose. */
export function startPreferences(): void {
  apply();
  window.addEventListener("storage", apply);
}

export function setPreference<Key extends keyof Preferences>(key: Key, value: Preferences[Key]): void {
  localStorage.setItem(KEYS[key], String(value));
  apply();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const currentPreferences = (): Preferences => preferences;

export function usePreferences(): Preferences {
  return useSyncExternalStore(subscribe, currentPreferences);
}
