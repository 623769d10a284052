import { lazy } from "react";

// What the first view does not need is loaded when it is shown.
export const ConversationPane = lazy(async () => ({ default: (await import("../../conversation/ConversationPane")).ConversationPane }));
export const RoomList = lazy(async () => ({ default: (await import("../../room")).RoomList }));
export const RoomPane = lazy(async () => ({ default: (await import("../../room")).RoomPane }));
export const InfoPanel = lazy(async () => ({ default: (await import("../info/InfoPanel")).InfoPanel }));
export const PeoplePage = lazy(async () => ({ default: (await import("../people/PeoplePage")).PeoplePage }));
export const SettingsPage = lazy(async () => ({ default: (await import("../settings/SettingsPage")).SettingsPage }));
export const JoinPage = lazy(async () => ({ default: (await import("../groups/JoinPage")).JoinPage }));
export const Switcher = lazy(async () => ({ default: (await import("../switcher/Switcher")).Switcher }));
export const ShortcutsDialog = lazy(async () => ({ default: (await import("../switcher/ShortcutsDialog")).ShortcutsDialog }));
export const CreateGroupDialog = lazy(async () => ({ default: (await import("../groups/CreateGroupDialog")).CreateGroupDialog }));
export const AddFriendDialog = lazy(async () => ({ default: (await import("../people/AddFriendDialog")).AddFriendDialog }));
