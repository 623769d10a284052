import { useName, useUser } from "../../api";

/** Returns how the other user of a call is shown. */
export function useCallee(user: string): { readonly id: string; readonly name: string; readonly file: string | null | undefined } {
  const name = useName(user);
  return { id: user, name, file: useUser(user)?.avatar };
}
