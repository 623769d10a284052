import { useCallback, useEffect, useState } from "react";
import { api, useGroup, useMay, useResource, useUser, type Member, type MemberPage } from "../../api";
import { useText } from "../../text";
import type { Pane } from "../pane/Pane";
import type { Emoji } from "../emoji/data";
import { rank, type Token } from "./completion";

/** What a word can become. */
export interface Suggestion {
  readonly id: string;
  /** What is put into the text. */
  readonly text: string;
  readonly label: string;
  readonly hint: string;
  /** The user it mentions; empty for everybody. */
  readonly user?: string;
  readonly avatar?: string | null;
}

const MOST = 8;
const MEMBERS = 200;
const NOTHING: readonly Suggestion[] = [];

/** Returns what the word at the caret can become. */
export function useCompletion(pane: Pane, token: Token | undefined): readonly Suggestion[] {
  const mentions = useMentions(pane, token?.kind === "mention" ? token.query : undefined);
  const emoji = useEmoji(token?.kind === "emoji" ? token.query : undefined);
  return token?.kind === "mention" ? mentions : token?.kind === "emoji" ? emoji : NOTHING;
}

function useMentions(pane: Pane, query: string | undefined): readonly Suggestion[] {
  const t = useText();
  const { channel, user } = pane.conversation;
  const group = useGroup(channel);
  const may = useMay(group);
  const peer = useUser(user);
  const isWanted = query !== undefined && channel !== undefined;
  // In a large group the back end finds the others.
  const searched = (group?.member_count ?? 0) > MEMBERS ? (query ?? "") : "";
  const load = useCallback(async (): Promise<readonly Member[]> => {
    return (await api.get<MemberPage>(`/api/groups/${channel}/members?limit=${MEMBERS}&q=${encodeURIComponent(searched)}`)).members;
  }, [channel, searched]);
  const members = useResource(isWanted ? `members/${channel}/mention/${searched}` : undefined, load).value ?? [];
  if (query === undefined) return NOTHING;
  const people = channel === undefined ? (peer ? [{ user: peer, nickname: "" }] : []) : members;
  const found = people
    .filter((member) => member.user.id !== pane.client.user && !member.user.is_system)
    .map((member) => ({ member, rank: rank(query, member.user.name, member.nickname, member.user.id) }))
    .filter((entry) => entry.rank > 0 || query === "")
    .sort((one, other) => other.rank - one.rank)
    .slice(0, MOST)
    .map(({ member }): Suggestion => ({ id: member.user.id, text: `@${member.user.name}`, label: member.user.name, hint: `@${member.user.id}`, user: member.user.id, avatar: member.user.avatar }));
  const everyone = t("chat.everyone");
  const isAll = channel !== undefined && may("mention_all") && (query === "" || rank(query, everyone, "everyone", "all") === 3);
  return isAll ? [...found, { id: "*", text: `@${everyone}`, label: everyone, hint: t("chat.everyoneHint"), user: "" }] : found;
}

function useEmoji(query: string | undefined): readonly Suggestion[] {
  const [find, setFind] = useState<(query: string, most: number) => Emoji[]>();
  const isWanted = query !== undefined && !find;
  useEffect(() => {
    if (isWanted) void import("../emoji/data").then(({ findEmoji }) => setFind(() => findEmoji));
  }, [isWanted]);
  if (query === undefined || !find) return NOTHING;
  return find(query, MOST).map(({ emoji, words }) => ({ id: emoji, text: emoji, label: `${emoji}  ${words[0] ?? ""}`, hint: "" }));
}
