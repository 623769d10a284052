import { ImError, type SentMessage } from "@im-sdk/client";
import { useCallback } from "react";
import { errorText } from "../../api";
import { useToast } from "../../design";
import { useText } from "../../text";
import type { Pane } from "../pane/Pane";

/** Returns a function that shows a change at once, and says so if it is refused later. A refused change is forgotten. */
export function useReport(pane: Pane): (work: Promise<unknown>) => void {
  const t = useText();
  const toast = useToast();
  return useCallback(
    (work) => {
      const tell = (error: unknown): void => toast(error instanceof ImError ? errorText(error) : t("chat.changeFailed"), { kind: "danger" });
      const follow = async (): Promise<void> => {
        const sent = (await work) as SentMessage;
        await pane.window.refresh();
        await sent.outcome().catch(async (error: unknown) => {
          // A closed page goes on with it later.
          if (error instanceof ImError && error.code === "closed") return;
          await sent.discard();
          tell(error);
        });
        await pane.window.refresh();
      };
      void follow().catch(tell);
    },
    [pane, toast, t],
  );
}
