import { useCallback, useState } from "react";
import { useResource, type Member } from "../../api";
import { loadMembers } from "./actions";

export interface Members {
  readonly members: readonly Member[] | undefined;
  readonly hasMore: boolean;
  readonly loadMore: () => void;
}

/** Returns the members of a group whose name contains `query`, as many pages as were asked for. */
export function useMembers(group: string, query: string): Members {
  const [pages, setPages] = useState(1);
  const load = useCallback(async () => {
    const members: Member[] = [];
    let after: string | undefined;
    for (let page = 0; page < pages; page++) {
      const { members: loaded, next } = await loadMembers(group, query, after);
      members.push(...loaded);
      after = next ?? undefined;
      if (after === undefined) break;
    }
    return { members, hasMore: after !== undefined };
  }, [group, query, pages]);
  const first = useResource(`members/${group}/${query}/${pages}`, load).value;
  const before = useResource(pages > 1 ? `members/${group}/${query}/${pages - 1}` : undefined, load).value;
  const value = first ?? before;
  return { members: value?.members, hasMore: value?.hasMore ?? false, loadMore: () => setPages(pages + 1) };
}
