import { useClient, useConnection } from "@im-sdk/client/react";
import { useMemo, useRef, useSyncExternalStore, type ReactNode } from "react";
import { api, errorText } from "../api";
import { goBack } from "../app/routes";
import { Button, EmptyState, Icon, IconButton } from "../design";
import { useText } from "../text";
import { Hearts, type HeartsHandle } from "./Hearts";
import { LikeSender } from "./likes";
import { MessageLog } from "./MessageLog";
import { RoomComposer } from "./RoomComposer";
import styles from "./RoomPane.module.css";
import { useRooms } from "./rooms";
import { RoomStore, type RoomView } from "./RoomStore";

/** A live room: this device is in it while it is shown. */
export function RoomPane({ room }: { readonly room: string }): ReactNode {
  return <OpenRoom key={room} room={room} />;
}

function OpenRoom({ room }: { readonly room: string }): ReactNode {
  const client = useClient();
  const hearts = useRef<HeartsHandle>(null);
  const store = useMemo(() => new RoomStore(client, room, (count) => hearts.current?.rise(count)), [client, room]);
  const likes = useMemo(() => new LikeSender((count) => api.post(`/api/rooms/${encodeURIComponent(room)}/likes`, { count })), [room]);
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot);
  const isIn = view.status.name === "in";
  return (
    <div className={styles.room}>
      <Header room={room} view={view} />
      <Connection isIn={isIn} />
      {view.status.name === "left" || view.status.name === "failed" ? (
        <Outside view={view} onJoin={() => void store.join()} />
      ) : (
        <>
          <MessageLog view={view} store={store} />
          <div className={styles.foot}>
            <Hearts ref={hearts} />
            <RoomComposer
              store={store}
              isIn={isIn}
              onLike={() => {
                hearts.current?.riseOwn();
                likes.add();
              }}
            />
          </div>
        </>
      )}
    </div>
  );
}

function Header({ room, view }: { readonly room: string; readonly view: RoomView }): ReactNode {
  const t = useText();
  const title = useRooms().value?.find(({ id }) => id === room)?.title ?? room;
  const isIn = view.status.name === "in";
  return (
    <header className={styles.header}>
      <span className={styles.back}>
        <IconButton icon="back" label={t("back")} onClick={() => goBack("/live")} />
      </span>
      <div className={styles.title}>
        <h1>
          <bdi>{title}</bdi>
        </h1>
        <p>{view.status.name === "joining" ? t("room.joining") : isIn && view.online !== undefined ? t("room.watching", { count: view.online }) : ""}</p>
      </div>
      {view.likes > 0 && (
        <span className={styles.likes}>
          <Icon name="heart" size={16} />
          <span aria-hidden>{view.likes.toLocaleString()}</span>
          <span className="visually-hidden">{t("room.likes", { count: view.likes })}</span>
        </span>
      )}
    </header>
  );
}

/** Says that nothing comes at the moment. */
function Connection({ isIn }: { readonly isIn: boolean }): ReactNode {
  const t = useText();
  const connection = useConnection();
  if (!isIn || connection === "connected") return null;
  return (
    <p className={styles.away} role="status">
      {t("room.away")}
    </p>
  );
}

/** Why this device is not in the room, and the way back. */
function Outside({ view: { status }, onJoin }: { readonly view: RoomView; readonly onJoin: () => void }): ReactNode {
  const t = useText();
  if (status.name !== "left" && status.name !== "failed") return null;
  const [title, text] = status.name === "left" ? [t(`room.${status.cause}`), status.reason] : [t("room.refused"), errorText(status.error)];
  return (
    <EmptyState icon={status.name === "left" ? "live" : "offline"} title={title} text={text}>
      <Button kind="primary" onClick={onJoin}>
        {t("room.rejoin")}
      </Button>
    </EmptyState>
  );
}
