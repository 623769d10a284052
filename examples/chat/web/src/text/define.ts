export const languages = ["en", "zh"] as const;
export type Language = (typeof languages)[number];

/** A text in every language, as the application and its back end give it. */
export type Text = Readonly<Record<Language, string>>;

/** Defines the texts of an area. Each has every language, or it does not compile. Parameters stand in braces. */
export function texts<const T extends Readonly<Record<string, Text>>>(given: T): T {
  return given;
}
