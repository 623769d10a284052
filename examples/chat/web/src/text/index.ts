export { languages, type Language, type Text } from "./define";
export { formatBytes, formatDateTime, formatDay, formatDuration, formatTime, formatWhen } from "./format";
export {
  currentLanguage,
  setLanguage,
  startLanguage,
  translate,
  useLanguage,
  useLanguageChoice,
  useText,
  type LanguageChoice,
  type TextKey,
  type Translate,
} from "./mechanism";
