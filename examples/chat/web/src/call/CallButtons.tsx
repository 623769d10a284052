import type { ReactNode } from "react";
import { IconButton } from "../design";
import { useText } from "../text";
import { useCall } from "./CallProvider";

/** Buttons that call a user, for the header of a conversation. */
export function CallButtons({ user }: { readonly user: string }): ReactNode {
  const t = useText();
  const { start } = useCall();
  return (
    <>
      <IconButton icon="phone" label={t("call.audio")} onClick={() => start(user, "audio")} />
      <IconButton icon="video" label={t("call.video")} onClick={() => start(user, "video")} />
    </>
  );
}
