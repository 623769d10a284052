import { useClient } from "@im-sdk/client/react";
import { createContext, useCallback, useContext, useEffect, useMemo, useSyncExternalStore, type ReactNode } from "react";
import { errorText } from "../api";
import { showToast } from "../design";
import { translate } from "../text";
import type { CallController } from "./CallController";
import { CallService } from "./CallService";
import type { CallKind } from "./machine/types";

const Context = createContext<CallService | undefined>(undefined);

/** Lets the components below it make calls. While it is mounted, calls are taken: mount a `CallLayer` with it. */
export function CallProvider({ children }: { readonly children?: ReactNode }): ReactNode {
  const client = useClient();
  const service = useMemo(() => new CallService(client), [client]);
  useEffect(() => service.run(), [service]);
  return <Context value={service}>{children}</Context>;
}

function useService(): CallService {
  const service = useContext(Context);
  if (!service) throw new Error("there are no calls here: put a CallProvider above the component");
  return service;
}

/** Returns how to call somebody. */
export function useCall(): { readonly start: (user: string, kind: CallKind) => void } {
  const service = useService();
  const start = useCallback(
    (user: string, kind: CallKind) => {
      service.start(user, kind).then(
        (result) => {
          if (result === "in_call") showToast(translate("call.inCall"));
          if (result === "other_tab") showToast(translate("call.otherTab"));
        },
        (error: unknown) => showToast(errorText(error), { kind: "danger" }),
      );
    },
    [service],
  );
  return useMemo(() => ({ start }), [start]);
}

/** Returns the calls of this page; `undefined` before the first one. */
export function useCallController(): CallController | undefined {
  const service = useService();
  return useSyncExternalStore(service.subscribe, service.getController);
}
