import type { ReactNode } from "react";
import { errorText, invalidate } from "../api";
import { Link } from "../app/Link";
import { useRoute } from "../app/routes";
import side from "../app/shell/Side.module.css";
import { Button, EmptyState, Icon, Skeleton } from "../design";
import { useText } from "../text";
import styles from "./RoomList.module.css";
import { useRooms } from "./rooms";

/** The live rooms, to choose one. */
export function RoomList(): ReactNode {
  const t = useText();
  return (
    <>
      <header className={side.header}>
        <h1>{t("area.live")}</h1>
      </header>
      <Rooms />
    </>
  );
}

function Rooms(): ReactNode {
  const t = useText();
  const route = useRoute();
  const { value: rooms, error, isLoading } = useRooms();
  const selected = route.name === "live" ? route.room : undefined;
  if (!rooms && isLoading) {
    return (
      <div className={side.padded}>
        <Skeleton height={44} />
      </div>
    );
  }
  if (!rooms) {
    return (
      <EmptyState icon="offline" title={t("room.failed")} text={errorText(error)}>
        <Button onClick={() => invalidate("rooms")}>{t("retry")}</Button>
      </EmptyState>
    );
  }
  if (rooms.length === 0) return <EmptyState icon="live" title={t("room.none")} text={t("room.noneText")} />;
  return (
    <nav className={side.nav} aria-label={t("area.live")}>
      {rooms.map(({ id, title }) => (
        <Link key={id} to={`/live/${encodeURIComponent(id)}`} aria-current={id === selected ? "page" : undefined}>
          <span className={styles.icon}>
            <Icon name="live" />
          </span>
          <span>
            <bdi>{title}</bdi>
          </span>
        </Link>
      ))}
    </nav>
  );
}
