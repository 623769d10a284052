import { useCallback } from "react";
import { useResource, type Resource } from "./cache";
import { api } from "./http";
import type { Department, Group, GroupAction, GroupPermissions, JoinRequest } from "./types";

const loadGroups = async (): Promise<readonly Group[]> => (await api.get<{ groups: readonly Group[] }>("/api/groups")).groups;

/** Returns the groups of this user. */
export function useGroups(): Resource<readonly Group[]> {
  return useResource("groups", loadGroups);
}

/** Returns a group; `undefined` until it is loaded, and if there is none, or none that this user may see. */
export function useGroup(id: string | undefined): Group | undefined {
  const { value, isLoading } = useGroups();
  const mine = value?.find((group) => group.id === id);
  // A group of somebody else, as one that this user has left.
  const isOther = id !== undefined && !isLoading && !mine;
  const load = useCallback(() => api.get<Group>(`/api/groups/${id}`), [id]);
  const other = useResource(isOther ? `groups/${id}` : undefined, load).value;
  return mine ?? other;
}

const loadPermissions = (): Promise<GroupPermissions> => api.get<GroupPermissions>("/api/group-permissions");

/** Returns whether this user may do something in a group. */
export function useMay(group: Group | undefined): (action: GroupAction) => boolean {
  const permissions = useResource("group-permissions", loadPermissions).value;
  const role = group?.my_role;
  return useCallback((action) => (role ? (permissions?.matrix[action]?.includes(role) ?? false) : false), [permissions, role]);
}

export function useJoinRequests(group: string | undefined): readonly JoinRequest[] | undefined {
  const load = useCallback(async () => (await api.get<{ requests: readonly JoinRequest[] }>(`/api/groups/${group}/requests`)).requests, [group]);
  return useResource(group === undefined ? undefined : `requests/${group}`, load).value;
}

const loadDepartments = async (): Promise<readonly Department[]> => (await api.get<{ departments: readonly Department[] }>("/api/departments")).departments;

export function useDepartments(): Resource<readonly Department[]> {
  return useResource("departments", loadDepartments);
}
