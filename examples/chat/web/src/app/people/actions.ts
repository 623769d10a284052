import { api, errorText, invalidate } from "../../api";
import { showToast } from "../../design";

const path = (area: "friends" | "blocks", id: string): string => `/api/${area}/${encodeURIComponent(id)}`;

/** Does something with a friend, and loads the friends anew. */
async function change<T>(work: Promise<T>): Promise<T> {
  const result = await work;
  invalidate("friends");
  return result;
}

/** Asks for friendship; accepts it where the other one has asked. */
export const befriend = (id: string, text = ""): Promise<{ state: "asked" | "friends" }> => change(api.post(path("friends", id), { text }));
export const refuse = (id: string): Promise<unknown> => change(api.post(`${path("friends", id)}/refuse`));
export const unfriend = (id: string): Promise<unknown> => change(api.delete(path("friends", id)));
export const setRemark = (id: string, remark: string): Promise<unknown> => change(api.put(`${path("friends", id)}/remark`, { remark }));
export const block = (id: string): Promise<unknown> => change(api.put(path("blocks", id)));
export const unblock = (id: string): Promise<unknown> => change(api.delete(path("blocks", id)));

/** Shows why something failed. */
export function report(work: Promise<unknown>): void {
  void work.catch((error: unknown) => showToast(errorText(error), { kind: "danger" }));
}
