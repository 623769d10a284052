import { api, invalidate, type Group, type Joining, type MemberPage, type Role } from "../../api";

const path = (id: string): string => `/api/groups/${encodeURIComponent(id)}`;

/** Does something with a group, and loads anew what shows it. */
async function change<T>(work: Promise<T>, id = ""): Promise<T> {
  const result = await work;
  invalidate("groups");
  invalidate(`members/${id}`);
  return result;
}

export const createGroup = (name: string, members: readonly string[]): Promise<Group> => change(api.post<Group>("/api/groups", { name, members }));

export interface GroupChange {
  readonly name?: string;
  readonly announcement?: string;
  readonly avatar?: string;
  readonly joining?: Joining;
  readonly all_muted?: boolean;
}

export const updateGroup = (id: string, to: GroupChange): Promise<Group> => change(api.patch<Group>(path(id), to), id);
export const updateMine = (id: string, to: { readonly nickname?: string; readonly remark?: string }): Promise<unknown> => change(api.patch(`${path(id)}/mine`, to), id);
export const invite = (id: string, users: readonly string[]): Promise<unknown> => change(api.post(`${path(id)}/members`, { users }), id);
export const removeMember = (id: string, user: string): Promise<unknown> => change(api.delete(`${path(id)}/members/${encodeURIComponent(user)}`), id);
export const updateMember = (id: string, user: string, to: { readonly role?: Exclude<Role, "owner">; readonly muted_until_at?: number }): Promise<unknown> =>
  change(api.patch(`${path(id)}/members/${encodeURIComponent(user)}`, to), id);
export const transfer = (id: string, user: string): Promise<unknown> => change(api.put(`${path(id)}/owner`, { user }), id);
export const dissolve = (id: string): Promise<unknown> => change(api.delete(path(id)), id);
export const renewLink = (id: string): Promise<{ link: string }> => api.post(`${path(id)}/link`);
export const joinByLink = (token: string): Promise<Group> => change(api.post<Group>(`/api/links/${encodeURIComponent(token)}`));

export async function decideRequest(id: string, user: string, isAccepted: boolean): Promise<void> {
  const request = `${path(id)}/requests/${encodeURIComponent(user)}`;
  await change(isAccepted ? api.post(request) : api.delete(request), id);
  invalidate(`requests/${id}`);
}

/** Joins a group that is open, or asks to. */
export async function joinGroup({ id, joining }: Group): Promise<"asked" | "joined"> {
  await change(api.post(`${path(id)}/requests`, { text: "" }), id);
  return joining === "open" ? "joined" : "asked";
}

/** Loads a page of members, those whose name contains `query`. */
export function loadMembers(id: string, query: string, after: string | undefined): Promise<MemberPage> {
  const parameters = new URLSearchParams({ limit: "50", ...(query && { q: query }), ...(after && { after }) });
  return api.get<MemberPage>(`${path(id)}/members?${parameters.toString()}`);
}
