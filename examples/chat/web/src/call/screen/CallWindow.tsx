import { useCallback, type ReactNode } from "react";
import { Avatar, Button, classes, Icon, IconButton } from "../../design";
import { useText } from "../../text";
import type { CallController, CallView } from "../CallController";
import type { CallState } from "../machine/types";
import { useCall } from "../CallProvider";
import styles from "./CallWindow.module.css";
import { Controls } from "./Controls";
import { Duration } from "./Duration";
import { Picture } from "./Picture";
import { cameraText, microphoneText, statusOf } from "./status";
import { useCallee } from "./useCallee";

type Shown = Exclude<CallState, { phase: "idle" }>;

interface CallWindowProps {
  readonly controller: CallController;
  readonly view: CallView & { readonly state: Shown };
}

/** The call that is made or goes on: over the whole page, or small in a corner of it. */
export function CallWindow({ controller, view }: CallWindowProps): ReactNode {
  const isEnded = view.state.phase === "ended";
  return view.isMinimised && !(isEnded && view.state.problem) ? <Corner controller={controller} view={view} /> : <Stage controller={controller} view={view} />;
}

function Stage({ controller, view }: CallWindowProps): ReactNode {
  const t = useText();
  const { state, local, remote } = view;
  const callee = useCallee(state.call.user);
  const isEnded = state.phase === "ended";
  const picture = isEnded || !remote?.isCameraOn ? undefined : remote.picture;
  const show = useCallback((dialog: HTMLDialogElement | null) => {
    dialog?.showModal();
    // Closing gives the focus back.
    return () => dialog?.close();
  }, []);
  const leave = (): void => (isEnded ? controller.end() : controller.minimise(true));
  return (
    <dialog
      ref={show}
      className={classes(styles.stage, picture && styles.withPicture)}
      aria-label={t("call.with", { name: callee.name })}
      onCancel={(event) => {
        event.preventDefault();
        leave();
      }}
    >
      {picture && (
        <div className={styles.picture}>
          <Picture stream={picture} label={callee.name} />
        </div>
      )}
      <header className={styles.header}>
        <IconButton icon={isEnded ? "close" : "collapse"} label={t(isEnded ? "close" : "call.minimise")} onClick={leave} />
        {picture && <Title name={callee.name} state={state} />}
      </header>
      <div className={styles.middle}>
        {!picture && (
          <>
            <span className={classes(styles.face, state.phase === "calling" && styles.pulse)}>
              <Avatar {...callee} size={128} />
            </span>
            <Title name={callee.name} state={state} isLarge />
          </>
        )}
        <Notes view={view} name={callee.name} />
        {isEnded && state.problem && <Again user={state.call.user} kind={state.call.kind} onClose={() => controller.end()} />}
      </div>
      {local?.picture && (
        <div className={styles.own}>
          <Picture stream={local.picture} label={t("call.own")} isMirrored isFilling />
        </div>
      )}
      {!isEnded && <Controls controller={controller} local={local} />}
    </dialog>
  );
}

function Title({ name, state, isLarge = false }: { readonly name: string; readonly state: Shown; readonly isLarge?: boolean }): ReactNode {
  const t = useText();
  const status = statusOf(t, state, name);
  return (
    <div className={classes(styles.title, isLarge && styles.large)}>
      <h2>
        <bdi>{name}</bdi>
      </h2>
      <p role="status">{status}</p>
      {state.phase === "active" && !state.isReconnecting && (
        <p>
          <Duration since={state.since} />
        </p>
      )}
    </div>
  );
}

/** What is to be known besides: who is muted, what does not work. */
function Notes({ view: { state, local, remote }, name }: { readonly view: CallWindowProps["view"]; readonly name: string }): ReactNode {
  const t = useText();
  const isActive = state.phase === "active";
  return (
    <div className={styles.notes} aria-live="polite">
      {isActive && remote?.isMuted && (
        <p>
          <Icon name="mic-off" size={16} /> {t("call.theyAreMuted", { name })}
        </p>
      )}
      {isActive && local?.isMuted && (
        <p>
          <Icon name="mic-off" size={16} /> {t("call.youAreMuted")}
        </p>
      )}
      {local?.cameraProblem && <p>{cameraText(t, local.cameraProblem)}</p>}
      {state.phase === "ended" && state.problem && <p>{microphoneText(t, state.problem)}</p>}
    </div>
  );
}

function Again({ user, kind, onClose }: { readonly user: string; readonly kind: "audio" | "video"; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const { start } = useCall();
  return (
    <div className={styles.again}>
      <Button onClick={onClose}>{t("close")}</Button>
      <Button kind="primary" icon="phone" onClick={() => start(user, kind)}>
        {t("call.again")}
      </Button>
    </div>
  );
}

/** The minimised call, beside which the rest of the application is used. */
function Corner({ controller, view: { state, local, remote } }: CallWindowProps): ReactNode {
  const t = useText();
  const callee = useCallee(state.call.user);
  const picture = remote?.isCameraOn ? remote.picture : undefined;
  const status = statusOf(t, state, callee.name);
  return (
    <section className={styles.corner} aria-label={t("call.with", { name: callee.name })}>
      {picture && (
        <button type="button" className={styles.small} aria-label={t("call.restore")} onClick={() => controller.minimise(false)}>
          <Picture stream={picture} label={callee.name} isFilling />
        </button>
      )}
      <div className={styles.bar}>
        {!picture && <Avatar {...callee} size={36} />}
        <div className={styles.lines}>
          <bdi className={styles.name}>{callee.name}</bdi>
          <span className={styles.status}>
            <span role="status">{status}</span>
            {state.phase === "active" && !state.isReconnecting && <Duration since={state.since} />}
          </span>
        </div>
        {state.phase === "ended" ? (
          <IconButton icon="close" label={t("close")} onClick={() => controller.end()} />
        ) : (
          <>
            {local && <IconButton icon={local.isMuted ? "mic-off" : "mic"} label={t(local.isMuted ? "call.unmute" : "call.mute")} isOn={local.isMuted} onClick={() => controller.setMuted(!local.isMuted)} />}
            <IconButton icon="expand" label={t("call.restore")} onClick={() => controller.minimise(false)} />
            <IconButton icon="phone-off" kind="danger" label={t("call.hangUp")} onClick={() => controller.end()} />
          </>
        )}
      </div>
    </section>
  );
}
