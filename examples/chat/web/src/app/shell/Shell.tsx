import { Suspense, type ReactNode } from "react";
import { useMe, useUser } from "../../api";
import { CallButtons, CallLayer, CallProvider } from "../../call";
import { EmptyState } from "../../design";
import { useText } from "../../text";
import { ConversationsSide } from "../list/ConversationsSide";
import { PeopleNav } from "../people/PeopleNav";
import { navigate, useRoute, type Route } from "../routes";
import { SettingsNav } from "../settings/SettingsNav";
import { AddFriendDialog, ConversationPane, CreateGroupDialog, InfoPanel, JoinPage, PeoplePage, RoomList, RoomPane, SettingsPage, ShortcutsDialog, Switcher } from "./areas";
import { ConnectionBanner } from "./ConnectionBanner";
import { openDialog, useOpenDialog } from "./dialogs";
import { PaneSkeleton, SideSkeleton } from "./Frame";
import { Notifier } from "./Notifier";
import { PageTitle } from "./PageTitle";
import { Rail } from "./Rail";
import styles from "./Shell.module.css";
import { Shortcuts } from "./Shortcuts";

/** The application of a user who is signed in. */
export function Shell(): ReactNode {
  return (
    <CallProvider>
      <Areas />
    </CallProvider>
  );
}

/** Areas, a list, and what was chosen in it. */
function Areas(): ReactNode {
  const t = useText();
  const route = useRoute();
  const hasPanel = route.name === "conversation" && route.panel;
  return (
    <div className={styles.shell} data-view={isList(route) ? "side" : "pane"} data-panel={hasPanel || undefined}>
      <a className={styles.skip} href="#main">
        {t("shell.skip")}
      </a>
      <ConnectionBanner />
      <Rail area={areaOf(route)} />
      <section className={styles.side} aria-label={t(`area.${areaOf(route)}`)}>
        <Suspense fallback={<SideSkeleton />}>
          <Side route={route} />
        </Suspense>
      </section>
      <main id="main" tabIndex={-1} className={styles.pane}>
        <Suspense fallback={<PaneSkeleton />}>
          <Pane route={route} />
        </Suspense>
      </main>
      {hasPanel && (
        <aside className={styles.panel} aria-label={t("info.title")}>
          <Suspense fallback={<SideSkeleton />}>
            <InfoPanel conversation={route.conversation} />
          </Suspense>
        </aside>
      )}
      <CallLayer />
      <Suspense>
        <Dialogs />
      </Suspense>
      <Shortcuts />
      <PageTitle />
      <Notifier />
    </div>
  );
}

export type Area = "chats" | "people" | "live" | "settings";

function areaOf({ name }: Route): Area {
  return name === "people" || name === "live" || name === "settings" ? name : "chats";
}

/** Returns whether the address shows a list, on a screen that has room for one thing. */
function isList(route: Route): boolean {
  if (route.name === "people") return route.tab === undefined;
  if (route.name === "live") return route.room === undefined;
  if (route.name === "settings") return route.page === undefined;
  return route.name === "list" || route.name === "unknown";
}

function Side({ route }: { readonly route: Route }): ReactNode {
  switch (areaOf(route)) {
    case "people":
      return <PeopleNav />;
    case "live":
      return <RoomList />;
    case "settings":
      return <SettingsNav />;
    case "chats":
      return <ConversationsSide />;
  }
}

function Pane({ route }: { readonly route: Route }): ReactNode {
  const t = useText();
  switch (route.name) {
    case "conversation":
      return <ConversationPane conversation={route.conversation} actions={route.conversation.user !== undefined && <Calls user={route.conversation.user} />} />;
    case "people":
      return <PeoplePage tab={route.tab ?? "friends"} />;
    case "settings":
      return <SettingsPage page={route.page ?? "profile"} />;
    case "join":
      return <JoinPage token={route.token} />;
    case "live":
      return route.room === undefined ? <EmptyState icon="live" title={t("live.empty")} text={t("live.emptyText")} /> : <RoomPane room={route.room} />;
    case "list":
      return <EmptyState icon="chat" title={t("list.choose")} text={t("list.chooseText")} />;
    case "unknown":
      return <EmptyState icon="search" title={t("shell.unknown")} text={t("shell.unknownText")} />;
  }
}

/** Calls are with another person. */
function Calls({ user }: { readonly user: string }): ReactNode {
  const me = useMe();
  const known = useUser(user);
  return known && !known.is_system && user !== me.id && <CallButtons user={user} />;
}

function Dialogs(): ReactNode {
  const opened = useOpenDialog();
  const close = (): void => openDialog(undefined);
  switch (opened) {
    case "switcher":
      return <Switcher onClose={close} />;
    case "shortcuts":
      return <ShortcutsDialog onClose={close} />;
    case "create-group":
      return <CreateGroupDialog onClose={close} onCreated={({ id }) => navigate(`/c/g/${encodeURIComponent(id)}`)} />;
    case "add-friend":
      return <AddFriendDialog onClose={close} />;
    case undefined:
      return null;
  }
}
