import { api, useResource, type Resource } from "../api";

export interface Room {
  readonly id: string;
  readonly title: string;
}

const load = async (): Promise<readonly Room[]> => (await api.get<{ rooms: readonly Room[] }>("/api/rooms")).rooms;

/** Returns the live rooms. */
export function useRooms(): Resource<readonly Room[]> {
  return useResource("rooms", load);
}
