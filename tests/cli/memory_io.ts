/**
 * The command line inside a test: streams in memory, and `main` run over them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type CliIo, main, type Output } from "../../src/cli/main.ts";
import { OutputClosed } from "../../src/cli/usage_error.ts";

/** What a command left. */
export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** How a command is run. */
export interface CliSetup {
  /** Standard input. */
  readonly input?: string | Uint8Array;
  /** Standard error is a terminal. */
  readonly terminal?: boolean;
  /** Standard output fails as a closed pipe after so many writes. */
  readonly closesAfter?: number;
  /** Is given what a signal would call to have the command end by itself. */
  readonly onStop?: (stop: () => void) => void;
  /** Sees what the command has printed so far, after each write. */
  readonly onOutput?: (text: string) => void;
}

/** An output that keeps what it is given. */
function memoryOutput(
  parts: Uint8Array[],
  isTerminal: boolean,
  closesAfter: number,
  onOutput?: (text: string) => void,
): Output {
  let writes = 0;
  return {
    isTerminal,
    columns: 100,
    write: (bytes) => {
      if (writes++ >= closesAfter) return Promise.reject(new OutputClosed());
      parts.push(bytes.slice());
      onOutput?.(Buffer.concat(parts).toString("utf8"));
      return Promise.resolve();
    },
  };
}

/** Runs a command; never touches the process. */
export async function cli(argv: readonly string[], setup: CliSetup = {}): Promise<CliResult> {
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  const input = typeof setup.input === "string" ? Buffer.from(setup.input) : setup.input ?? new Uint8Array(0);
  const io: CliIo = {
    stdout: memoryOutput(out, false, setup.closesAfter ?? Infinity, setup.onOutput),
    stderr: memoryOutput(err, setup.terminal === true, Infinity),
    stdin: (async function* () {
      await Promise.resolve();
      // Cut in odd places on purpose.
      for (let at = 0; at < input.length; at += 7) yield input.subarray(at, at + 7);
    })(),
    color: false,
    onInterrupt: () => () => {},
    onStop: (stop) => {
      setup.onStop?.(stop);
      return () => {};
    },
  };
  const code = await main(argv, io);
  return { code, out: Buffer.concat(out).toString("utf8"), err: Buffer.concat(err).toString("utf8") };
}

/** The JSON values of an output, one per line. */
export function jsonLines(text: string): Array<Record<string, unknown>> {
  return text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Record<string, unknown>);
}
