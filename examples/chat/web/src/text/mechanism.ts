import { useCallback, useSyncExternalStore } from "react";
import { conversation } from "./conversation";
import { languages, type Language } from "./define";
import { live } from "./live";
import { people } from "./people";
import { settings } from "./settings";
import { shell } from "./shell";

const all = { ...shell, ...people, ...settings, ...conversation, ...live };

export type TextKey = keyof typeof all;

/** The names in braces of a text: `{name}`, and `{count:one|other}` where a word follows a number. */
type Names<Text extends string> = Text extends `${string}{${infer Inside}}${infer Rest}` ? (Inside extends `${infer Name}:${string}` ? Name : Inside) | Names<Rest> : never;
type Parameters<Key extends TextKey> = [Names<(typeof all)[Key]["en"]>] extends [never] ? [] : [Readonly<Record<Names<(typeof all)[Key]["en"]>, string | number>>];

/** Returns the text of a key in the user's language. */
export type Translate = <Key extends TextKey>(key: Key, ...parameters: Parameters<Key>) => string;

export type LanguageChoice = Language | "system";

const STORED = "chat.language";
const listeners = new Set<() => void>();
const system = (): Language => (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
const isLanguage = (value: string | null): value is Language => languages.some((language) => language === value);

let choice: LanguageChoice = readChoice();
let language: Language = choice === "system" ? system() : choice;

function readChoice(): LanguageChoice {
  const stored = localStorage.getItem(STORED);
  return isLanguage(stored) ? stored : "system";
}

function apply(next: LanguageChoice): void {
  choice = next;
  language = next === "system" ? system() : next;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const listener of listeners) listener();
}

/** Takes the language that was chosen on this device, and follows what other tabs choose. */
export function startLanguage(): void {
  apply(choice);
  window.addEventListener("storage", ({ key }) => key === STORED && apply(readChoice()));
  window.addEventListener("languagechange", () => apply(choice));
}

export function setLanguage(next: LanguageChoice): void {
  if (next === "system") localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, next);
  apply(next);
}

export const currentLanguage = (): Language => language;
export const currentChoice = (): LanguageChoice => choice;

/** Translates outside of components. In a component use `useText`, which follows the language. */
export const translate: Translate = (key, ...[parameters]) => fill(all[key][language], parameters);

function fill(text: string, parameters: Readonly<Record<string, string | number>> | undefined): string {
  if (!parameters) return text;
  return text.replace(/\{(\w+)(?::([^|}]*)\|([^}]*))?\}/g, (_, name: string, one?: string, other?: string) => {
    const value = parameters[name] ?? "";
    if (one === undefined) return typeof value === "number" ? value.toLocaleString(language) : value;
    return (new Intl.PluralRules(language).select(Number(value)) === "one" ? one : other) ?? "";
  });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useLanguage = (): Language => useSyncExternalStore(subscribe, currentLanguage);
export const useLanguageChoice = (): LanguageChoice => useSyncExternalStore(subscribe, currentChoice);

/** Returns the function that translates. It is another one when the language changes. */
export function useText(): Translate {
  const now = useLanguage();
  return useCallback<Translate>((key, ...parameters) => translate(key, ...parameters), [now]);
}
