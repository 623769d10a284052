import { useState, type ReactNode } from "react";
import { api, errorText, useNames, useResource, type AuditEntry } from "../../api";
import { Button, EmptyState } from "../../design";
import { formatDateTime, useText } from "../../text";
import info from "../parts/Info.module.css";
import { ListSkeleton } from "../shell/Frame";

interface AuditPage {
  readonly entries: readonly AuditEntry[];
  readonly next: string | null;
}

const loadPage = (before: string | null): Promise<AuditPage> => api.get<AuditPage>(`/api/audit${before === null ? "" : `?before=${encodeURIComponent(before)}`}`);
const loadFirst = (): Promise<AuditPage> => loadPage(null);

/** Who has done what, for those who may read it. */
export function AuditLog(): ReactNode {
  const t = useText();
  const { value: first, error } = useResource("audit", loadFirst);
  const [more, setMore] = useState<readonly AuditPage[]>([]);
  const pages = first ? [first, ...more] : [];
  const entries = pages.flatMap((page) => page.entries);
  const next = pages.at(-1)?.next ?? null;
  const names = useNames([...new Set(entries.map(({ actor }) => actor))]);
  if (!first) return error ? <EmptyState icon="offline" title={t("list.failed")} text={errorText(error)} /> : <ListSkeleton />;
  if (entries.length === 0) return <EmptyState icon="eye" title={t("audit.empty")} />;
  return (
    <>
      <ul className={info.stack}>
        {entries.map(({ id, at, actor, action, target, detail }) => (
          <li key={id}>
            <p>
              <strong>{names.get(actor) ?? actor}</strong> <code>{action}</code> {target}
            </p>
            <p className={info.faint}>{[formatDateTime(at), typeof detail === "string" ? detail : ""].filter(Boolean).join(" · ")}</p>
          </li>
        ))}
      </ul>
      {next !== null && <Button onClick={() => void loadPage(next).then((page) => setMore([...more, page]), () => undefined)}>{t("more")}</Button>}
    </>
  );
}
