import { useConversations } from "@im-sdk/client/react";
import { useEffect, type ReactNode } from "react";
import { useText } from "../../text";

const ICON = "/favicon.svg";
const UNREAD_ICON = "/favicon-unread.svg";

/** The title and the icon of the tab, with the unread messages of the list. */
export function PageTitle(): ReactNode {
  const t = useText();
  const { unread } = useConversations();
  const name = t("app.name");
  const count = unread.more || unread.count > 99 ? "99+" : String(unread.count);
  useEffect(() => {
    document.title = count === "0" ? name : `(${count}) ${name}`;
    document.querySelector('link[rel="icon"]')?.setAttribute("href", count === "0" ? ICON : UNREAD_ICON);
  }, [name, count]);
  return null;
}
