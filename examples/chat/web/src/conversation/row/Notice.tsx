import type { proto } from "@im-sdk/client";
import type { ReactNode } from "react";
import { useText } from "../../text";
import { useNames } from "../names";
import { withoutControls } from "../richtext/bidi";
import styles from "./row.module.css";

/** A line of the system, in the user's language. */
export function Notice({ notice, me }: { readonly notice: proto.Notice; readonly me: string }): ReactNode {
  const t = useText();
  const { by = "", users = "", name = "", text = "", role = "", muted = "", until = "", user = "" } = notice.parameters;
  const ids = [by, ...users.split(","), user].filter(Boolean);
  const nameOf = useNames(ids);
  const called = (id: string): string => (id === me ? t("chat.you") : nameOf(id));
  const who = { by: called(by), users: (users ? users.split(",") : user ? [user] : []).map(called).join(t("chat.listComma")), name: withoutControls(name), text: withoutControls(text) };
  const sentence = (): string => {
    switch (notice.kind) {
      case "group.created":
        return t("chat.noticeCreated", who);
      case "group.joined":
        return by && who.users && by !== users ? t("chat.noticeInvited", who) : t("chat.noticeJoined", { users: who.users || who.by });
      case "group.left":
        return t("chat.noticeLeft", { users: who.users || who.by });
      case "group.kicked":
        return t("chat.noticeKicked", who);
      case "group.renamed":
        return t("chat.noticeRenamed", who);
      case "group.announced":
        return t("chat.noticeAnnounced", who);
      case "group.role":
        return role === "admin" ? t("chat.noticeAdmin", who) : t("chat.noticeMember", who);
      case "group.owner":
        return t("chat.noticeOwner", who);
      case "group.muted":
        return until === "0" ? t("chat.noticeUnmuted", who) : t("chat.noticeMuted", who);
      case "group.all_muted":
        return muted === "false" ? t("chat.noticeAllUnmuted", who) : t("chat.noticeAllMuted", who);
      case "group.dissolved":
        return t("chat.noticeDissolved", who);
      default:
        return withoutControls(notice.text);
    }
  };
  return (
    <p className={styles["line"]} dir="auto">
      {sentence()}
    </p>
  );
}
