import { texts } from "./define";

/** The texts of calls and rooms. */
export const live = texts({});
