import type { ReactNode } from "react";
import { Toasts } from "../design";

export function App(): ReactNode {
  return <Toasts />;
}
