import { useMemo } from "react";
import { Batch, useBatch } from "./batch";
import { api } from "./http";
import type { FileLink } from "./types";

/** Links are renewed this long before they end, so that what is being loaded still may. */
const EARLY_MS = 60_000;

const links = new Batch<FileLink>({
  load: async (ids) => {
    const answer = await api.post<{ links: Readonly<Record<string, FileLink>> }>("/api/files/links", { ids });
    return new Map(Object.entries(answer.links));
  },
  endsAt: ({ ends_at }) => ends_at - EARLY_MS,
});

/** Returns the id of a file that a message's `url` names, or the id itself. */
export const fileIdOf = (url: string): string => url.replace(/^\/files\//, "");

/** Returns links to files by what was given: ids, or urls as messages have them. */
export function useFileLinks(urls: readonly string[]): ReadonlyMap<string, FileLink> {
  const key = urls.join("\n");
  const known = useBatch(links, urls.map(fileIdOf));
  return useMemo(() => {
    const found = new Map<string, FileLink>();
    for (const url of key.split("\n")) {
      const link = known.get(fileIdOf(url));
      if (link) found.set(url, link);
    }
    return found;
  }, [known, key]);
}
