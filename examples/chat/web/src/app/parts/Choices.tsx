import { useId, type ReactNode } from "react";
import { Icon, type IconName } from "../../design";
import styles from "./Form.module.css";

export interface ChoicesProps<Value extends string> {
  readonly label: string;
  readonly choices: readonly { readonly value: Value; readonly label: string; readonly icon?: IconName }[];
  readonly value: Value;
  readonly onChange: (value: Value) => void;
}

/** One of a few values. */
export function Choices<Value extends string>({ label, choices, value, onChange }: ChoicesProps<Value>): ReactNode {
  const name = useId();
  return (
    <fieldset className={styles.choices}>
      <legend>{label}</legend>
      {choices.map((choice) => (
        <label key={choice.value} className={styles.choice}>
          <input type="radio" name={name} checked={choice.value === value} onChange={() => onChange(choice.value)} />
          {choice.icon && <Icon name={choice.icon} size={18} />}
          {choice.label}
        </label>
      ))}
    </fieldset>
  );
}
