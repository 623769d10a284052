import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A tab of a real browser. */
export interface BrowserTab {
  /** Evaluates an expression, or awaits a promise, and returns its value, which travels as JSON. */
  evaluate<T>(expression: string): Promise<T>;
  reload(): Promise<void>;
  close(): Promise<void>;
  /** Ends the tab's process, as the system does when memory is short: nothing of the page runs any more. */
  kill(): Promise<void>;
  /** Stops the page: no timer, no event of it runs until {@link thaw}. Its lock and its socket stay. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Returns a PNG picture of the page. */
  screenshot(): Promise<Buffer>;
}

/** A real browser with a profile of its own. */
export interface Browser {
  readonly name: string;
  open(url: string): Promise<BrowserTab>;
  close(): Promise<void>;
}

/** Returns the program of a browser. */
export function findProgram(variable: string, name: string): string {
  const program = process.env[variable] ?? name;
  const folders = program.includes("/") ? [""] : (process.env["PATH"] ?? "").split(delimiter);
  if (folders.some((folder) => existsSync(join(folder, program)))) return program;
  throw new Error(`${program} is missing: on Debian, apt-get install ${name}; elsewhere set ${variable} to the path of the program`);
}

/** The names and ids of a process's descendants. */
export function descendants(pid: number): { readonly pid: number; readonly name: string }[] {
  const all = execFileSync("ps", ["-eo", "pid=,ppid=,comm="], { encoding: "utf8" })
    .split("\n")
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .flatMap((found) => (found ? [{ pid: Number(found[1]), parent: Number(found[2]), name: found[3] as string }] : []));
  const below = (parent: number): typeof all => all.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  return below(pid);
}

/** How much a process has computed. */
export function cpuTicks(pid: number): number {
  try {
    // Its name, which stands before, may have spaces.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}
