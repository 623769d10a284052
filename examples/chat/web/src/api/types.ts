/** What the back end's HTTP API says. Times are milliseconds since 1970. */

export interface User {
  readonly id: string;
  readonly name: string;
  readonly about: string;
  /** A file. */
  readonly avatar: string | null;
  readonly department: string | null;
  readonly is_system: boolean;
}

export interface Me extends User {
  /** The e-mail address that codes for signing in go to. */
  readonly address: string | null;
  readonly language: string;
  readonly permissions: readonly string[];
}

export interface Session {
  readonly access_token: string;
  readonly expires_in_ms: number;
  readonly session: string;
  readonly me: Me;
}

export interface SessionInfo {
  readonly id: string;
  readonly device_name: string;
  readonly created_at: number;
  readonly last_used_at: number;
  readonly is_current: boolean;
  readonly device: string | null;
}

export interface ImToken {
  readonly token: string;
  readonly endpoints: readonly string[];
  readonly expires_in_ms: number;
}

export interface Friend {
  readonly user: User;
  readonly remark: string;
  readonly since_at: number;
}

export interface FriendRequest {
  readonly user: User;
  readonly text: string;
  readonly at: number;
  readonly direction: "in" | "out";
}

export interface Friends {
  readonly friends: readonly Friend[];
  readonly requests: readonly FriendRequest[];
  readonly blocked: readonly User[];
}

export type Role = "owner" | "admin" | "member";
export type Joining = "invite" | "request" | "open";

export interface Group {
  /** The channel's id. */
  readonly id: string;
  readonly name: string;
  readonly announcement: string;
  readonly avatar: string | null;
  readonly owner: string;
  readonly member_count: number;
  /** `null` if this user is not a member. */
  readonly my_role: Role | null;
  readonly my_nickname: string;
  readonly my_remark: string;
  readonly all_muted: boolean;
  readonly joining: Joining;
  readonly department: string | null;
  readonly created_at: number;
  readonly muted_until_at: number | null;
}

export interface Member {
  readonly user: User;
  readonly nickname: string;
  readonly role: Role;
  readonly muted_until_at: number | null;
  readonly joined_at: number;
}

export interface MemberPage {
  readonly members: readonly Member[];
  readonly next: string | null;
}

export interface JoinRequest {
  readonly user: User;
  readonly text: string;
  readonly at: number;
}

export type GroupAction =
  | "rename"
  | "announce"
  | "invite"
  | "kick"
  | "mute"
  | "mute_all"
  | "set_role"
  | "transfer"
  | "dissolve"
  | "recall_any"
  | "pin"
  | "link"
  | "mention_all";

export interface GroupPermissions {
  readonly matrix: Readonly<Record<GroupAction, readonly Role[]>>;
}

export interface Found {
  readonly people: readonly User[];
  readonly groups: readonly Group[];
}

export interface Department {
  readonly id: string;
  readonly name: string;
  readonly parent: string | null;
  readonly group: string;
  readonly people: number;
}

export interface StoredFile {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly bytes: number;
  readonly width: number | null;
  readonly height: number | null;
  readonly duration_ms: number | null;
  readonly has_thumbnail: boolean;
}

/** Addresses of this origin that need no header. They end. */
export interface FileLink {
  readonly url: string;
  readonly thumbnail: string | null;
  readonly download: string;
  readonly ends_at: number;
}

export interface Room {
  readonly id: string;
  readonly title: string;
}

export interface AuditEntry {
  readonly id: string;
  readonly at: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: unknown;
}

/** A push from the back end: something is to be fetched again. */
export interface Changed {
  readonly what: "friends" | "groups" | "me" | "departments" | "requests";
  readonly id?: string;
}
