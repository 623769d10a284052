export { CallButtons } from "./CallButtons";
export { CallLayer } from "./CallLayer";
export { CallProvider, useCall } from "./CallProvider";
export type { CallKind, Outcome } from "./machine/types";
