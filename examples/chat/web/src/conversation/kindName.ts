import { useText } from "../text";

/** Returns a function that names kinds of messages that have no words of their own, such as a picture. */
export function useKindName(): (kind: string) => string {
  const t = useText();
  return (kind) => {
    switch (kind) {
      case "text":
        return t("chat.kindText");
      case "image":
        return t("chat.kindImage");
      case "video":
        return t("chat.kindVideo");
      case "voice":
        return t("chat.kindVoice");
      case "file":
        return t("chat.kindFile");
      case "location":
        return t("chat.kindLocation");
      case "card":
        return t("chat.kindCard");
      case "forwarded":
        return t("chat.kindForwarded");
      default:
        return t("chat.kindUnknown");
    }
  };
}
