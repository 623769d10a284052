import type { MessageId, proto } from "@im-sdk/client";
import type { ReactNode } from "react";
import { useText } from "../../text";
import { useName } from "../names";
import { withoutControls } from "../richtext/bidi";
import { useKindName } from "../kindName";
import styles from "./row.module.css";

/** What a message answers. Pressing it goes there. */
export function QuoteBox({ quote, onJump }: { readonly quote: proto.Quote; readonly onJump: (id: MessageId) => void }): ReactNode {
  const t = useText();
  const name = useName(quote.from || undefined);
  const kindName = useKindName();
  const said = quote.recalled ? t("chat.recalledShort") : withoutControls(quote.excerpt) || kindName(quote.kind);
  return (
    <button type="button" className={styles["quote"]} onClick={() => onJump(quote.messageId)} aria-label={t("chat.goToQuote", { name, text: said })}>
      <bdi className={styles["quoteName"]}>{name}</bdi>
      <span className={styles["quoteText"]} dir="auto">
        {said}
      </span>
    </button>
  );
}
