import { useMemo } from "react";
import { useName as useCalled, useNames as useCalledAll } from "../api";
import { withoutControls } from "./richtext/bidi";
import type { MentionName } from "./richtext/parse";

/** Returns how a user is called. Names cannot turn the text around them. */
export function useName(user: string | undefined): string {
  return withoutControls(useCalled(user));
}

/** Returns a function that names some users. */
export function useNames(users: readonly string[]): (user: string) => string {
  const known = useCalledAll(users);
  return (user) => withoutControls(known.get(user) ?? user);
}

const NOBODY: readonly string[] = [];
/** What calls everybody, in each language. */
export const EVERYBODY: readonly string[] = ["everyone", "所有人"];

/** Returns the names by which a text may mention users. */
export function useMentionNames(mentions: { readonly users: readonly string[]; readonly everybody: boolean } | undefined): readonly MentionName[] {
  const users = mentions?.users ?? NOBODY;
  const known = useCalledAll(users);
  return useMemo(() => {
    const names = users.flatMap((user) => [{ name: user, user }, { name: known.get(user) ?? user, user }]);
    return mentions?.everybody ? [...names, ...EVERYBODY.map((name) => ({ name, user: "" }))] : names;
  }, [users, known, mentions?.everybody]);
}
