/**
 * The streams and signals of the running process, as commands want them. Works on Deno, Bun and Node.
 *
 * @module
 */
import process from "node:process";
import type { CliIo, Output } from "./output.ts";
import { OutputClosed } from "./usage_error.ts";

/** Width that is assumed when the terminal does not say. */
const COLUMNS_DEFAULT = 80;
/** Exit codes of a process that a signal ended: 128 and the signal's number. */
const SIGNAL_EXITS: ReadonlyArray<readonly ["SIGINT" | "SIGTERM" | "SIGHUP", number]> = [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
];

/** A writable stream of the process as an output. */
function outputOf(stream: NodeJS.WriteStream): Output {
  let closed = false;
  // Without a listener an EPIPE would end the process as an uncaught error.
  stream.on("error", () => {
    closed = true;
  });
  return {
    isTerminal: stream.isTTY === true,
    get columns() {
      return stream.columns ?? COLUMNS_DEFAULT;
    },
    write: (bytes) => {
      if (closed) return Promise.reject(new OutputClosed());
      return new Promise((resolve, reject) => {
        stream.write(bytes, (error) => {
          if (error === undefined || error === null) return resolve();
          closed = true;
          reject(isGone(error) ? new OutputClosed() : error);
        });
      });
    },
  };
}

function isGone(error: Error): boolean {
  const code = (error as { readonly code?: string }).code;
  return code === "EPIPE" || code === "ERR_STREAM_DESTROYED" || code === "ECONNRESET";
}

/** The process' own streams and signals. */
export function processIo(): CliIo {
  return {
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
    stdin: { [Symbol.asyncIterator]: () => process.stdin[Symbol.asyncIterator]() as AsyncIterator<Uint8Array> },
    color: process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined,
    onInterrupt: (cleanUp) =>
      onSignals((code) => {
        cleanUp();
        process.exit(code);
      }),
    onStop: (stop) => {
      let asked = false;
      return onSignals((code) => {
        if (asked) process.exit(code);
        asked = true;
        stop();
      });
    },
  };
}

/** Calls `handle` with the exit code that belongs to each signal that asks the process to end. */
function onSignals(handle: (code: number) => void): () => void {
  const handlers = SIGNAL_EXITS.map(([signal, code]) => {
    const handler = () => handle(code);
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return () => handlers.forEach(([signal, handler]) => process.off(signal, handler));
}
