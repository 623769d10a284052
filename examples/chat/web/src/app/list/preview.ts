import type { Content } from "@im-sdk/client";
import { useCallback } from "react";
import { useText } from "../../text";

const MOST = 160;

/** Returns a function that says in one line what a message contains. */
export function usePreview(): (content: Content | undefined) => string {
  const t = useText();
  return useCallback(
    (content) => {
      if (!content) return "";
      const { text, image, video, voice, file, location, card, forwarded, notice } = content;
      if (text) return text.text.slice(0, MOST);
      const caption = image?.caption || video?.caption || file?.caption;
      if (image) return withCaption(t("preview.image"), caption);
      if (video) return withCaption(t("preview.video"), caption);
      if (voice) return t("preview.voice");
      if (file) return withCaption(t("preview.file"), caption || file.media?.name);
      if (location) return withCaption(t("preview.location"), location.name);
      if (card) return withCaption(t("preview.card"), card.title);
      if (forwarded) return t("preview.forwarded");
      if (notice) return notice.text.slice(0, MOST);
      return t("preview.other");
    },
    [t],
  );
}

function withCaption(kind: string, caption: string | undefined): string {
  return caption ? `${kind} ${caption.slice(0, MOST)}` : kind;
}
