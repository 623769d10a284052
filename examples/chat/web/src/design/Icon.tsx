import type { ReactNode } from "react";
import { icons, type IconName } from "./icons";

/** An icon in the colour of the text around it. Without a `label` it is decoration. */
export function Icon({ name, size = 20, label }: { readonly name: IconName; readonly size?: number; readonly label?: string }): ReactNode {
  const isDots = name === "more";
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth={isDots ? 3 : 1.75}
      strokeLinecap="round"
      strokeLinejoin="round"
      style={{ flex: "none", display: "block" }}
      {...(label === undefined ? { "aria-hidden": true } : { role: "img", "aria-label": label })}
    >
      {icons[name].map((path) => (
        <path key={path} d={path} />
      ))}
    </svg>
  );
}
