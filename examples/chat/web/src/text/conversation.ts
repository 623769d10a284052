import { texts } from "./define";

/** The texts of a conversation. */
export const conversation = texts({});
