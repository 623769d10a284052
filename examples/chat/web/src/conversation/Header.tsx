import { useClient, usePresence } from "@im-sdk/client/react";
import type { ReactNode } from "react";
import { useGroup, useUser } from "../api";
import { goBack, navigate, pathOf } from "../app/routes";
import { Avatar, IconButton } from "../design";
import { formatWhen, useText } from "../text";
import styles from "./conversation.module.css";
import { useName } from "./names";
import { closePanel, openPanel, usePanel } from "./panels/panel";
import { usePane } from "./pane/context";
import { useTyping } from "./read/typing";

/** Who it is with, and what can be opened. `children` are further buttons, such as those of calls. */
export function Header({ children }: { readonly children?: ReactNode }): ReactNode {
  const t = useText();
  const { conversation } = usePane();
  const panel = usePanel();
  const toggle = (kind: "search" | "pins") => () => (panel?.kind === kind ? closePanel(conversation) : openPanel(conversation, { kind }));
  return (
    <header className={styles.header}>
      <IconButton icon="back" label={t("back")} className={styles.onlyNarrow} onClick={() => goBack("/")} />
      {conversation.user === undefined ? <GroupTitle channel={conversation.channel} /> : <UserTitle user={conversation.user} />}
      {children}
      <IconButton icon="pin" label={t("chat.pins")} isOn={panel?.kind === "pins"} onClick={toggle("pins")} />
      <IconButton icon="search" label={t("chat.search")} isOn={panel?.kind === "search"} onClick={toggle("search")} />
    </header>
  );
}

function UserTitle({ user }: { readonly user: string }): ReactNode {
  const t = useText();
  const client = useClient();
  const name = useName(user);
  const known = useUser(user);
  const presence = usePresence(known?.is_system === false ? [user] : NONE).get(user);
  const typing = useTyping(client, { user });
  const isOnline = presence?.terminals.some(({ online }) => online) ?? false;
  const seen = Math.max(0, ...(presence?.terminals.map(({ lastSeenMs }) => lastSeenMs) ?? []));
  const state = typing.length > 0 ? t("chat.typing") : isOnline ? t("chat.online") : seen > 0 ? t("chat.lastSeen", { when: formatWhen(seen) }) : presence ? t("chat.offline") : "";
  return (
    <>
      <h1 className="visually-hidden">{name}</h1>
      <button type="button" className={styles.title} onClick={() => navigate(`${pathOf({ user })}?info`)}>
        <Avatar id={user} name={name} file={known?.avatar} presence={presence && (isOnline ? "online" : "offline")} />
        <span className={styles.names}>
          <bdi>{name}</bdi>
          <small data-typing={typing.length > 0 || undefined}>{state}</small>
        </span>
        <span className="visually-hidden">{t("chat.info")}</span>
      </button>
    </>
  );
}

function GroupTitle({ channel }: { readonly channel: string }): ReactNode {
  const t = useText();
  const client = useClient();
  const group = useGroup(channel);
  const typing = useTyping(client, { channel });
  const typist = useName(typing[0]);
  const name = group?.my_remark || group?.name || channel;
  const members = group ? t("chat.members", { count: group.member_count }) : "";
  const state = typing.length > 1 ? t("chat.typingMany", { count: typing.length }) : typing.length === 1 ? t("chat.typingOne", { name: typist }) : members;
  return (
    <>
      <h1 className="visually-hidden">{name}</h1>
      <button type="button" className={styles.title} onClick={() => navigate(`${pathOf({ channel })}?info`)}>
        <Avatar id={channel} name={name} file={group?.avatar} />
        <span className={styles.names}>
          <bdi>{name}</bdi>
          <small data-typing={typing.length > 0 || undefined}>{state}</small>
        </span>
        <span className="visually-hidden">{t("chat.info")}</span>
      </button>
    </>
  );
}

const NONE: readonly string[] = [];
