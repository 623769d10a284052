import { useCallback, useEffect, useState } from "react";
import { api, useResource, type Found, type Resource } from "../api";

const PAUSE_MS = 200;

/** Returns a value once it has not changed for a moment. */
export function useSettled<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

/** Searches people and groups, once the user pauses. */
export function useSearch(text: string): Resource<Found> {
  const query = useSettled(text.trim());
  const load = useCallback(() => api.get<Found>(`/api/search?q=${encodeURIComponent(query)}`), [query]);
  return useResource(query === "" ? undefined : `search/${query}`, load);
}
