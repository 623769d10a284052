import { useMay, type Group, type Member } from "../../api";
import type { MenuItem } from "../../design";
import { useText } from "../../text";
import { report } from "../people/actions";
import { navigate, pathOf } from "../routes";
import { updateMember } from "./actions";

const HOUR_MS = 3_600_000;
const RANKS = { owner: 2, admin: 1, member: 0 } as const;

/** Returns what this user may do with a member: only with those of a lower role. */
export function useMemberMenu(group: Group, { user, role, muted_until_at }: Member, onAsk: (what: "kick" | "transfer") => void): readonly MenuItem[] {
  const t = useText();
  const may = useMay(group);
  const isBelow = group.my_role !== null && RANKS[role] < RANKS[group.my_role];
  const isMuted = muted_until_at !== null && muted_until_at > Date.now();
  const mute = (ms: number): void => report(updateMember(group.id, user.id, { muted_until_at: Date.now() + ms }));
  return [
    { icon: "chat", label: t("people.message"), onSelect: () => navigate(pathOf({ user: user.id })) },
    ...(isBelow && may("set_role")
      ? [
          role === "admin"
            ? ({ icon: "user", label: t("role.toMember"), onSelect: () => report(updateMember(group.id, user.id, { role: "member" })) } as const)
            : ({ icon: "shield", label: t("role.toAdmin"), onSelect: () => report(updateMember(group.id, user.id, { role: "admin" })) } as const),
        ]
      : []),
    ...(isBelow && may("mute")
      ? isMuted
        ? [{ icon: "volume", label: t("group.unmuteMember"), onSelect: () => report(updateMember(group.id, user.id, { muted_until_at: 0 })) } as const]
        : [
            { icon: "volume-off", label: t("group.muteHour"), onSelect: () => mute(HOUR_MS) } as const,
            { icon: "volume-off", label: t("group.muteDay"), onSelect: () => mute(24 * HOUR_MS) } as const,
          ]
      : []),
    ...(isBelow && may("transfer") ? [{ icon: "crown", label: t("group.transfer"), onSelect: () => onAsk("transfer") } as const] : []),
    ...(isBelow && may("kick") ? [{ icon: "user", label: t("group.kick"), isDanger: true, onSelect: () => onAsk("kick") } as const] : []),
  ];
}
