import { useState, type FormEvent } from "react";
import { errorText } from "../api";

/** State of a form: that it is being sent, and why it was refused. */
export interface Submission {
  readonly isBusy: boolean;
  readonly error: string | undefined;
  readonly submit: (event: FormEvent<HTMLFormElement>) => void;
  readonly run: () => Promise<void>;
}

/** Returns the state of a form that calls `action`. */
export function useSubmit(action: () => Promise<unknown>): Submission {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const run = async (): Promise<void> => {
    if (isBusy) return;
    setBusy(true);
    setError(undefined);
    try {
      await action();
    } catch (failure) {
      setError(errorText(failure));
    } finally {
      setBusy(false);
    }
  };
  return {
    isBusy,
    error,
    run,
    submit: (event) => {
      event.preventDefault();
      void run();
    },
  };
}
