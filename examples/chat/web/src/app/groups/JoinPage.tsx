import { useCallback, type ReactNode } from "react";
import { api, errorText, useResource, type Group } from "../../api";
import { Avatar, Button, EmptyState, Spinner } from "../../design";
import { useText } from "../../text";
import { Page } from "../parts/Page";
import { navigate, pathOf } from "../routes";
import { useSubmit } from "../useSubmit";
import { joinByLink } from "./actions";
import info from "../parts/Info.module.css";

/** What a link to a group leads to. */
export function JoinPage({ token }: { readonly token: string }): ReactNode {
  const t = useText();
  const load = useCallback(async () => (await api.get<{ group: Group }>(`/api/links/${encodeURIComponent(token)}`)).group, [token]);
  const { value: group, error } = useResource(`links/${token}`, load);
  const join = useSubmit(async () => {
    const joined = await joinByLink(token);
    navigate(pathOf({ channel: joined.id }), { replace: true });
  });
  return (
    <Page title={t("group.join")} backTo="/">
      {error !== undefined ? (
        <EmptyState icon="link" title={t("group.linkOver")} text={errorText(error)} />
      ) : group === undefined ? (
        <Spinner label={t("loading")} />
      ) : (
        <div className={info.face}>
          <Avatar id={group.id} name={group.name} file={group.avatar} size={88} />
          <h2>{group.name}</h2>
          <p className={info.faint}>{t("group.memberCount", { count: group.member_count })}</p>
          {group.my_role ? (
            <Button kind="primary" onClick={() => navigate(pathOf({ channel: group.id }), { replace: true })}>
              {t("people.message")}
            </Button>
          ) : (
            <Button kind="primary" isBusy={join.isBusy} onClick={() => void join.run()}>
              {t("group.join")}
            </Button>
          )}
          {join.error !== undefined && (
            <p role="alert" className={info.error}>
              {join.error}
            </p>
          )}
        </div>
      )}
    </Page>
  );
}
