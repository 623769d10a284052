import { useId, type InputHTMLAttributes, type ReactNode, type Ref, type TextareaHTMLAttributes } from "react";
import { classes } from "./classes";
import styles from "./Fields.module.css";
import { Icon } from "./Icon";
import type { IconName } from "./icons";

interface FieldProps {
  readonly label: string;
  /** Keeps the label for screen readers alone. */
  readonly isLabelHidden?: boolean;
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
}

export interface TextFieldProps extends FieldProps, Omit<InputHTMLAttributes<HTMLInputElement>, "size"> {
  readonly icon?: IconName;
  /** At the end of the field, such as a button that clears it. */
  readonly trailing?: ReactNode;
  readonly ref?: Ref<HTMLInputElement>;
}

export function TextField({ label, isLabelHidden = false, hint, error, icon, trailing, className, ...input }: TextFieldProps): ReactNode {
  const id = useId();
  return (
    <div className={classes(styles.field, className)}>
      <label htmlFor={id} className={isLabelHidden ? "visually-hidden" : styles.label}>
        {label}
      </label>
      <span className={styles.box}>
        {icon && <Icon name={icon} size={18} />}
        <input {...input} id={id} aria-invalid={error !== undefined || undefined} aria-describedby={error || hint ? `${id}-note` : undefined} />
        {trailing}
      </span>
      <Note id={`${id}-note`} hint={hint} error={error} />
    </div>
  );
}

export interface TextAreaProps extends FieldProps, TextareaHTMLAttributes<HTMLTextAreaElement> {
  readonly ref?: Ref<HTMLTextAreaElement>;
}

export function TextArea({ label, isLabelHidden = false, hint, error, className, ...area }: TextAreaProps): ReactNode {
  const id = useId();
  return (
    <div className={classes(styles.field, className)}>
      <label htmlFor={id} className={isLabelHidden ? "visually-hidden" : styles.label}>
        {label}
      </label>
      <span className={styles.box}>
        <textarea rows={3} {...area} id={id} aria-invalid={error !== undefined || undefined} aria-describedby={error || hint ? `${id}-note` : undefined} />
      </span>
      <Note id={`${id}-note`} hint={hint} error={error} />
    </div>
  );
}

function Note({ id, hint, error }: { readonly id: string; readonly hint: string | undefined; readonly error: string | undefined }): ReactNode {
  if (!hint && !error) return null;
  return (
    <p id={id} className={error ? styles.error : styles.hint} role={error ? "alert" : undefined}>
      {error ?? hint}
    </p>
  );
}

export interface SwitchProps {
  readonly label: string;
  readonly hint?: string;
  readonly isOn: boolean;
  readonly onChange: (isOn: boolean) => void;
  readonly isDisabled?: boolean;
}

/** A setting that applies at once. */
export function Switch({ label, hint, isOn, onChange, isDisabled = false }: SwitchProps): ReactNode {
  const id = useId();
  return (
    <div className={styles.switch}>
      <label htmlFor={id}>
        {label}
        {hint !== undefined && <span className={styles.hint}>{hint}</span>}
      </label>
      <button id={id} type="button" role="switch" aria-checked={isOn} disabled={isDisabled} onClick={() => onChange(!isOn)}>
        <span />
      </button>
    </div>
  );
}
