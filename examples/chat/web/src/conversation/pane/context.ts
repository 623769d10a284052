import { createContext, useContext } from "react";
import { useStore } from "../store";
import type { Pane, PaneState } from "./Pane";

export const PaneContext = createContext<Pane | undefined>(undefined);

/** Returns the conversation that the component is in. */
export function usePane(): Pane {
  const pane = useContext(PaneContext);
  if (!pane) throw new Error("there is no conversation here");
  return pane;
}

/** Returns a part of what the reader does. */
export function usePaneState<P>(part: (state: PaneState) => P): P {
  return useStore(usePane().state, part);
}
