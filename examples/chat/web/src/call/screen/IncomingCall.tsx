import { useCallback, useEffect, useId, type ReactNode } from "react";
import { currentPreferences } from "../../app/preferences";
import { Avatar, Button } from "../../design";
import { useText } from "../../text";
import type { CallController } from "../CallController";
import type { Call, MediaProblem } from "../machine/types";
import styles from "./Card.module.css";
import { microphoneText } from "./status";
import { useCallee } from "./useCallee";

interface IncomingCallProps {
  readonly controller: CallController;
  readonly call: Call;
  readonly problem: MediaProblem | undefined;
}

/** A call that rings here. It leaves the focus to somebody who is writing. */
export function IncomingCall({ controller, call, problem }: IncomingCallProps): ReactNode {
  const t = useText();
  const id = useId();
  const callee = useCallee(call.user);
  const { name } = callee;
  useNotification(t("call.incoming", { name }), call);
  const show = useCallback((dialog: HTMLDialogElement | null) => {
    if (!dialog) return;
    const before = document.activeElement;
    // Beside a modal dialog nothing else can be pressed.
    if (document.querySelector("dialog:modal")) dialog.showModal();
    else {
      dialog.open = true;
      if (!isWriting(before)) dialog.focus({ preventScroll: true });
    }
    return () => {
      const hadFocus = dialog.contains(document.activeElement);
      dialog.close();
      if (hadFocus && before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog ref={show} className={styles.card} role="alertdialog" aria-labelledby={id} tabIndex={-1} onCancel={(event) => event.preventDefault()}>
      <p className="visually-hidden" role="alert">
        {t("call.incoming", { name })}
      </p>
      <div className={styles.who}>
        <span className={styles.pulse}>
          <Avatar {...callee} size={52} />
        </span>
        <div id={id} className={styles.lines}>
          <bdi className={styles.name}>{name}</bdi>
          <span className={styles.note}>{t(call.kind === "video" ? "call.incomingVideo" : "call.incomingAudio")}</span>
        </div>
      </div>
      {problem && (
        <p className={styles.problem} role="alert">
          {microphoneText(t, problem)}
        </p>
      )}
      <div className={styles.buttons}>
        <Button kind="danger" icon="phone-off" onClick={() => controller.end()}>
          {t("call.decline")}
        </Button>
        {call.kind === "video" && (
          <Button icon="phone" onClick={() => controller.answer(false)}>
            {t("call.answerAudio")}
          </Button>
        )}
        <Button kind="primary" icon={call.kind === "video" ? "video" : "phone"} onClick={() => controller.answer(true)}>
          {t(call.kind === "video" ? "call.answerVideo" : "call.answer")}
        </Button>
      </div>
    </dialog>
  );
}

function isWriting(element: Element | null): boolean {
  return element instanceof HTMLElement && (element.isContentEditable || element.matches("input, textarea, select"));
}

/** Shows a notification of the system while nobody looks at the page, if the user wants that. */
function useNotification(title: string, { id }: Call): void {
  useEffect(() => {
    if (document.visibilityState === "visible" || !currentPreferences().notifies || !("Notification" in window) || Notification.permission !== "granted") return;
    const notification = new Notification(title, { tag: `call ${id}`, silent: true, requireInteraction: true, icon: "/favicon.svg" });
    notification.onclick = () => {
      window.focus();
      notification.close();
    };
    return () => notification.close();
  }, [title, id]);
}
