import type { proto } from "@im-sdk/client";
import type { MouseEvent, ReactNode } from "react";
import { navigate } from "../../app/routes";
import { Avatar, Icon } from "../../design";
import { useText } from "../../text";
import { withoutControls } from "../richtext/bidi";
import { safeHref } from "../richtext/links";
import styles from "./row.module.css";

/** A person, a group or an address, with a title. */
export function CardBox({ card }: { readonly card: proto.Card }): ReactNode {
  const t = useText();
  const title = withoutControls(card.title) || card.id || card.url;
  const path = card.kind === "user" ? `/c/u/${encodeURIComponent(card.id)}` : card.kind === "channel" ? `/c/g/${encodeURIComponent(card.id)}` : undefined;
  const href = path ?? safeHref(card.url);
  const open = (event: MouseEvent): void => {
    if (!path) return;
    event.preventDefault();
    navigate(path);
  };
  const inside = (
    <>
      {path ? <Avatar id={card.id} name={title} size={40} /> : <span className={styles["cardIcon"]}><Icon name="link" /></span>}
      <span className={styles["cardText"]}>
        <bdi>{title}</bdi>
        <small dir="auto">{withoutControls(card.text) || (path ? t(card.kind === "user" ? "chat.cardUser" : "chat.cardGroup") : hostOf(href))}</small>
      </span>
    </>
  );
  if (!href) return <div className={styles["card"]}>{inside}</div>;
  return (
    <a className={styles["card"]} href={href} onClick={open} {...(path ? {} : { target: "_blank", rel: "noopener noreferrer nofollow" })}>
      {inside}
    </a>
  );
}

/** A place on earth, with a link to a map of the reader's choice. */
export function LocationBox({ location }: { readonly location: proto.Location }): ReactNode {
  const t = useText();
  const [latitude, longitude] = [location.latitudeE7 / 1e7, location.longitudeE7 / 1e7];
  return (
    <a className={styles["card"]} href={`geo:${latitude},${longitude}`}>
      <span className={styles["cardIcon"]}>
        <Icon name="location" />
      </span>
      <span className={styles["cardText"]}>
        <bdi>{withoutControls(location.name) || t("chat.kindLocation")}</bdi>
        <small dir="auto">{withoutControls(location.address) || `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`}</small>
      </span>
    </a>
  );
}

function hostOf(href: string | undefined): string {
  return href ? new URL(href).host : "";
}
