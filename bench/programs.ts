/**
 * The runtimes that a benchmark runs on, and starting programs on them.
 *
 * Bun and Node come from the npm registry by their exact versions; only the path of the binary is taken from there, so
 * that what is measured is not the package runner.
 *
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import process from "node:process";

/** Releases that are measured unless the command line names binaries. */
export const DEFAULT_RELEASES: Readonly<Record<string, string>> = { bun: "bun@1.4.5", node: "node@22.23.3" };

/** A JavaScript runtime on this machine. */
export interface RuntimeBinary {
  readonly name: "deno" | "bun" | "node";
  readonly path: string;
  readonly version: string;
}

/** A program that ended badly, with the end of what it said. */
export class ProgramFailure extends Error {
  override readonly name: string = "ProgramFailure";
}

/** Marks the line of a child's output that holds its result. */
export const RESULT_MARK = "@@";

/**
 * Arguments that run the module `file` with every permission; `isApart` for one that loads packages from elsewhere, which
 * Deno else looks for in the repository's settings.
 */
export function runArguments(runtime: Pick<RuntimeBinary, "name">, file: string, isApart: boolean = false): string[] {
  return runtime.name === "deno"
    ? ["run", "-A", "--quiet", ...(isApart ? ["--no-config", "--node-modules-dir=manual"] : []), file]
    : runtime.name === "node"
    ? ["--no-warnings", file]
    : [file];
}

/** Finds the runtimes of a list such as `deno,bun=/path/to/bun`. One that cannot be found is left out and reported. */
export function findRuntimes(list: string, complain: (what: string) => void): RuntimeBinary[] {
  const found: RuntimeBinary[] = [];
  for (const part of list.split(",").filter((text) => text !== "")) {
    const [name, given] = part.split("=");
    if (name !== "deno" && name !== "bun" && name !== "node") {
      complain(`unknown runtime ${name}`);
      continue;
    }
    const path = given ?? (name === "deno" ? process.execPath : pathByNpx(DEFAULT_RELEASES[name]!));
    const version = path === undefined ? undefined : versionOf(path);
    if (path === undefined || version === undefined) {
      complain(`cannot run ${name}${given === undefined ? "" : ` at ${given}`}`);
    } else found.push({ name, path, version });
  }
  return found;
}

function pathByNpx(release: string): string | undefined {
  const asked = spawnSync("npx", ["--yes", release, "-e", "console.log(process.execPath)"], { encoding: "utf8" });
  const path = asked.stdout?.trim().split("\n").at(-1);
  return asked.status === 0 && path !== "" ? path : undefined;
}

function versionOf(path: string): string | undefined {
  const said = spawnSync(path, ["--version"], { encoding: "utf8" });
  return said.status === 0 ? /\d+\.\d+\.\d+/.exec(said.stdout)?.[0] : undefined;
}

/** Runs a program to its end; what it writes to standard error is passed on when `loud`. Answers its output. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly loud?: boolean } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: { ...process.env, ...options.env },
      stdio: ["ignore", "pipe", options.loud === true ? "inherit" : "pipe"],
    });
    let output = "";
    let trouble = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => output += text);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => trouble += text);
    child.on("error", (error) => reject(new ProgramFailure(`cannot start ${command}: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(output);
      else {reject(
          new ProgramFailure(`ended with ${signal ?? `code ${code}`}: ${(trouble || output).trim().slice(-1500)}`),
        );}
    });
  });
}

/** Runs a module of ours on `runtime` and parses the line that it marked as its result. */
export async function runModule(
  runtime: RuntimeBinary,
  file: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly isApart?: boolean } = {},
): Promise<unknown> {
  const { env = {}, isApart = false } = options;
  const output = await runProgram(runtime.path, [...runArguments(runtime, file, isApart), ...args], { env });
  const line = output.split("\n").findLast((text) => text.startsWith(RESULT_MARK));
  if (line === undefined) throw new ProgramFailure(`${file} gave no result: ${output.slice(-500)}`);
  return JSON.parse(line.slice(RESULT_MARK.length));
}
