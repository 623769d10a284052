import type { ReactNode } from "react";
import { useText } from "../../text";
import { DepartmentsTab } from "../departments/DepartmentsTab";
import { Page } from "../parts/Page";
import { BlockedTab } from "./BlockedTab";
import { FriendsTab } from "./FriendsTab";
import { GroupsTab } from "./GroupsTab";
import { RequestsTab } from "./RequestsTab";

export function PeoplePage({ tab }: { readonly tab: string }): ReactNode {
  const t = useText();
  switch (tab) {
    case "requests":
      return <Page title={t("people.requests")} backTo="/people" children={<RequestsTab />} />;
    case "groups":
      return <Page title={t("people.groups")} backTo="/people" children={<GroupsTab />} />;
    case "departments":
      return <DepartmentsTab />;
    case "blocked":
      return <Page title={t("people.blocked")} backTo="/people" children={<BlockedTab />} />;
    default:
      return <Page title={t("people.friends")} backTo="/people" children={<FriendsTab />} />;
  }
}
