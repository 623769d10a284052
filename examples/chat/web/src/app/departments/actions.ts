import { api, invalidate, users } from "../../api";

const path = (id: string): string => `/api/departments/${encodeURIComponent(id)}`;

async function change<T>(work: Promise<T>): Promise<T> {
  const result = await work;
  invalidate("departments");
  invalidate("groups");
  return result;
}

export const createDepartment = (name: string, parent: string | null): Promise<unknown> => change(api.post("/api/departments", { name, parent }));
export const updateDepartment = (id: string, to: { readonly name?: string; readonly parent?: string | null }): Promise<unknown> => change(api.patch(path(id), to));
export const removeDepartment = (id: string): Promise<unknown> => change(api.delete(path(id)));

/** Moves a user to another department, or out of all. */
export async function moveUser(user: string, department: string | null): Promise<void> {
  await change(api.put(`/api/users/${encodeURIComponent(user)}/department`, { department }));
  users.invalidate([user]);
}
