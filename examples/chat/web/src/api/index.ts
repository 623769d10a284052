export { invalidate, put, useResource, type Resource } from "./cache";
export { applyPush, reloadAll } from "./changes";
export { ApiError, errorText, useRefusal, useRefusalText } from "./errors";
export { fileIdOf, useFileLinks } from "./files";
export { useDepartments, useGroup, useGroups, useJoinRequests, useMay } from "./groups";
export { api, type RequestOptions } from "./http";
export { useFriends, useName, useNames, users, useUser, useUsers } from "./people";
export {
  demoUsers,
  requestCode,
  resumeSession,
  signIn,
  signInAsDemo,
  signInByCode,
  signOut,
  signUp,
  startSession,
  updateMe,
  useMe,
  useSession,
  type SessionState,
} from "./session";
export type * from "./types";
export { uploadFile, type UploadOptions } from "./upload";
