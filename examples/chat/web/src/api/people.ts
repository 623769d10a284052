import { useMemo } from "react";
import { Batch, useBatch } from "./batch";
import { useResource } from "./cache";
import { api } from "./http";
import type { Friends, User } from "./types";

export const users = new Batch<User>({
  load: async (ids) => {
    const answer = await api.get<{ users: readonly User[] }>(`/api/users?ids=${ids.map(encodeURIComponent).join(",")}`);
    return new Map(answer.users.map((user) => [user.id, user]));
  },
});

/** Returns those of some users that are known so far. */
export function useUsers(ids: readonly string[]): ReadonlyMap<string, User> {
  return useBatch(users, ids);
}

export function useUser(id: string | undefined): User | undefined {
  return useUsers(id === undefined ? [] : [id]).get(id ?? "");
}

const loadFriends = (): Promise<Friends> => api.get<Friends>("/api/friends");

/** Returns friends, requests and blocked users; `undefined` until they are loaded. */
export function useFriends(): Friends | undefined {
  return useResource("friends", loadFriends).value;
}

/** Returns how some users are called here: the remark of a friend, or else their name, or else their id. */
export function useNames(ids: readonly string[]): ReadonlyMap<string, string> {
  const known = useUsers(ids);
  const friends = useFriends();
  const key = ids.join("\n");
  return useMemo(() => {
    const remarks = new Map(friends?.friends.map(({ user, remark }) => [user.id, remark]));
    return new Map(key.split("\n").map((id) => [id, remarks.get(id) || known.get(id)?.name || id]));
  }, [known, friends, key]);
}

export function useName(id: string | undefined): string {
  return useNames(id === undefined ? [] : [id]).get(id ?? "") ?? "";
}
