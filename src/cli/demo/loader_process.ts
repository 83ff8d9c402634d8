/**
 * The demo's child process as its parent sees it: started with the same runtime, read line by line, killed.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { textOf } from "../bytes_text.ts";
import { readLines } from "../line_source.ts";
import { CommandFailure } from "../usage_error.ts";
import { repositoryRoot } from "./demo_plan.ts";
import type { Acknowledgement } from "./loader_command.ts";

/** How the child ended. */
export interface LoaderEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** Arguments that make this runtime run the command line. */
function runtimeArguments(): string[] {
  const main = new URL("../main.ts", import.meta.url);
  const entry = main.protocol === "file:" ? fileURLToPath(main) : main.href;
  const isDeno = "deno" in process.versions;
  if (isDeno) return ["run", "-A", "--quiet", entry];
  // Not the flags of a test runner that this process may be part of: the child would report as a test.
  return [...process.execArgv.filter((flag) => !flag.startsWith("--test")), entry];
}

/** A running loader. */
export class LoaderProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<LoaderEnd>;
  #complaints = "";

  /** Starts a child that loads `folder` into the database at `location`. */
  constructor(location: string, folder: string) {
    const cwd = repositoryRoot();
    const child = spawn(process.execPath, [...runtimeArguments(), "demo-loader", location, folder], {
      stdio: ["pipe", "pipe", "pipe"],
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#child = child;
    this.#ended = new Promise((resolve, reject) => {
      child.on(
        "error",
        (error) => reject(new CommandFailure("child", `Cannot start a child process: ${error.message}`)),
      );
      child.on("exit", (code, signal) => resolve({ code, signal }));
    });
    this.#ended.catch(() => {});
    // A child that was killed takes no more answers; that is not an error.
    child.stdin!.on("error", () => {});
    child.stderr!.on("data", (chunk: Uint8Array) => {
      this.#complaints = (this.#complaints + (textOf(chunk) ?? "")).slice(-2000);
    });
  }

  /** Process id, for the story. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What the child said on its standard error. */
  get complaints(): string {
    return this.#complaints.trim();
  }

  /** What the child says is durable, in order, until its output ends. A line without an end does not count. */
  async *acknowledgements(): AsyncGenerator<Acknowledgement> {
    for await (const line of readLines(this.#child.stdout!, { lastNeedsEnd: true })) {
      yield JSON.parse(textOf(line)!) as Acknowledgement;
    }
  }

  /** Lets the child write one more batch. */
  answer(): void {
    this.#child.stdin!.write("\n");
  }

  /** Kills it as a power cut would: SIGKILL, no handler runs. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** How it ended. */
  ended(): Promise<LoaderEnd> {
    return this.#ended;
  }
}
