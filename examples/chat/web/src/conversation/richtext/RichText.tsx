import { memo, useMemo, type ReactNode } from "react";
import { Button, IconButton } from "../../design";
import { useText } from "../../text";
import { collapse } from "./collapse";
import { parseText, type Block, type Inline, type MentionName } from "./parse";
import styles from "./RichText.module.css";

interface Props {
  readonly text: string;
  readonly mentions?: readonly MentionName[] | undefined;
  readonly me?: string;
  /** Shows a long text whole. */
  readonly isOpen?: boolean;
  readonly onOpen?: () => void;
  /** Stands at the end of the last line, or below it. */
  readonly tail?: ReactNode;
}

/** A text of a user. Its parts become elements with text in them; nothing of it is read as HTML. */
export const RichText = memo(function RichText({ text, mentions, me, isOpen = false, onOpen, tail }: Props): ReactNode {
  const t = useText();
  const short = useMemo(() => collapse(text), [text]);
  const cut = isOpen ? undefined : short;
  const { blocks, onlyEmoji } = useMemo(() => parseText(cut?.shown ?? text, mentions), [cut, text, mentions]);
  if (onlyEmoji > 0) {
    return (
      <div className={styles.text}>
        <p className={onlyEmoji > 3 ? styles.emoji : styles.largeEmoji}>{text.trim()}</p>
        {tail}
      </div>
    );
  }
  const last = blocks.at(-1);
  const isInLine = !cut && last?.kind === "paragraph" && last.direction !== "rtl";
  return (
    <div className={styles.text}>
      {blocks.map((block, index) => (
        <BlockView key={index} block={block} me={me} isCut={cut !== undefined && index === blocks.length - 1} tail={isInLine && index === blocks.length - 1 ? tail : undefined} />
      ))}
      {cut && (
        <Button kind="quiet" className={styles.more} onClick={onOpen}>
          {cut.lines > 24 ? t("chat.showAllLines", { count: cut.lines }) : t("chat.showAll")}
        </Button>
      )}
      {!isInLine && tail}
    </div>
  );
});

function BlockView({ block, me, isCut, tail }: { readonly block: Block; readonly me: string | undefined; readonly isCut: boolean; readonly tail: ReactNode }): ReactNode {
  const t = useText();
  if (block.kind === "code") {
    return (
      <div className={styles.code} dir="ltr">
        <IconButton icon="copy" size={16} label={t("chat.copyCode")} className={styles.copy} onClick={() => void navigator.clipboard.writeText(block.text)} />
        {/* It can be scrolled by keyboard. */}
        <pre tabIndex={0}>{block.text}</pre>
      </div>
    );
  }
  return (
    <p dir={block.direction ?? "auto"}>
      {block.inlines.map((inline, index) => (
        <InlineView key={index} inline={inline} me={me} isCut={isCut && index === block.inlines.length - 1} />
      ))}
      {isCut && "…"}
      {tail !== undefined && <span className={styles.tail}>{tail}</span>}
    </p>
  );
}

function InlineView({ inline, me, isCut }: { readonly inline: Inline; readonly me: string | undefined; readonly isCut: boolean }): ReactNode {
  switch (inline.kind) {
    case "text":
      return inline.text;
    case "control":
      return (
        <span className={styles.control} title={`Unicode ${inline.text}`}>
          {inline.text}
        </span>
      );
    case "code":
      return (
        <code className={styles.inlineCode} dir="ltr">
          {inline.text}
        </code>
      );
    case "link":
      // Half an address leads elsewhere.
      if (isCut) return <bdi dir="ltr">{inline.text}</bdi>;
      return (
        <a href={inline.href} target="_blank" rel="noopener noreferrer nofollow" dir="ltr" className={styles.link} title={inline.href === inline.text ? undefined : inline.href}>
          {inline.text}
        </a>
      );
    case "mention":
      return <bdi className={inline.user === me || inline.user === "" ? styles.mentionMe : styles.mention}>{inline.text}</bdi>;
  }
}
