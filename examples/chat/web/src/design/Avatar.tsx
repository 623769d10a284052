import { useState, type CSSProperties, type ReactNode } from "react";
import { useFileLinks } from "../api/files";
import styles from "./Avatar.module.css";
import { graphemes } from "./graphemes";

export interface AvatarProps {
  /** Of the user or group: the colour follows from it. */
  readonly id: string;
  readonly name: string;
  /** The file of the picture. Without one, or until it is there, the initials stand. */
  readonly file?: string | null | undefined;
  readonly size?: number;
  /** Without a value, no light is shown. */
  readonly presence?: "online" | "offline" | undefined;
}

/** The picture of a user or a group. It is decoration: the name belongs beside it. */
export function Avatar({ id, name, file, size = 40, presence }: AvatarProps): ReactNode {
  const link = useFileLinks(file ? [file] : []).get(file ?? "");
  const [failed, setFailed] = useState<string>();
  const url = link?.thumbnail ?? link?.url;
  const style = { "--hue": hueOf(id), "--size": `${size}px` } as CSSProperties;
  return (
    <span className={styles.avatar} style={style} aria-hidden>
      {/* The initials are drawn, not text: a name that stands beside them is read alone, and found alone. */}
      <span className={styles.face} data-initials={initialsOf(name || id)}>
        {url && url !== failed && <img src={url} alt="" width={size} height={size} onError={() => setFailed(url)} />}
      </span>
      {presence && <span className={styles.presence} data-presence={presence} />}
    </span>
  );
}

function hueOf(id: string): number {
  let hash = 7;
  for (const unit of id) hash = (Math.imul(hash, 31) + (unit.codePointAt(0) ?? 0)) >>> 0;
  return Math.round((hash % 24) * 15);
}

/** Returns the first letters of the first two words; of a Chinese name its last two characters, the given name. */
function initialsOf(name: string): string {
  if (/^\p{Script=Han}{2,4}$/u.test(name)) return name.slice(-2);
  const words = name.trim().split(/[\s._-]+/).filter(Boolean);
  return words
    .slice(0, 2)
    .map((word) => graphemes(word)[0] ?? "")
    .join("")
    .toLocaleUpperCase();
}
