import { lazy, Suspense, type ReactNode } from "react";
import { useCallController } from "./CallProvider";

const CallScreen = lazy(() => import("./screen/CallScreen"));

/** Shows the call that rings or goes on: once in the application. */
export function CallLayer(): ReactNode {
  const controller = useCallController();
  if (!controller) return null;
  return (
    <Suspense>
      <CallScreen controller={controller} />
    </Suspense>
  );
}
