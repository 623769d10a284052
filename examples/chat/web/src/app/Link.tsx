import type { AnchorHTMLAttributes, ReactNode } from "react";
import { navigate } from "./routes";

/** A link within the application. With a modifier key the browser opens it as any other. */
export function Link({ to, onClick, ...anchor }: { readonly to: string } & Omit<AnchorHTMLAttributes<HTMLAnchorElement>, "href">): ReactNode {
  return (
    <a
      {...anchor}
      href={to}
      onClick={(event) => {
        onClick?.(event);
        if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        navigate(to);
      }}
    />
  );
}
