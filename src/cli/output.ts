/**
 * What commands write to: a buffered printer over any output, and the shape of an output.
 *
 * Writes are collected up to 64 KiB and wait for the reader (back-pressure). When nobody reads any more (EPIPE) the
 * next write throws `OutputClosed`, which ends the command successfully.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Where a stream of the process, or a test, takes bytes. */
export interface Output {
  /** Resolves when the bytes are taken. Fails with `OutputClosed` when nobody reads any more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Whether a person looks at it: progress bars are drawn there alone. */
  readonly isTerminal: boolean;
  /** Width of the terminal in characters. */
  readonly columns: number;
}

/** What surrounds a command. */
export interface CliIo {
  /** Results. */
  readonly stdout: Output;
  /** Messages and progress. */
  readonly stderr: Output;
  /** Input of `put … -` and `import … -`. */
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Whether headings may be set in bold. */
  readonly color: boolean;
  /**
   * Has `cleanUp` called when the user interrupts the process, which then ends with the exit code that belongs to
   * it; the answer takes it back. `cleanUp` must be synchronous.
   */
  onInterrupt(cleanUp: () => void): () => void;
  /**
   * Has `stop` called once when the process is asked to end (SIGINT, SIGTERM, SIGHUP), for a command that then ends by
   * itself; a second request ends the process at once. The answer takes it back.
   */
  onStop(stop: () => void): () => void;
}

/** Bytes after which a printer passes on what it has. */
const BUFFER_BYTES = 65_536;

/** Collects lines for one output. */
export class Printer {
  readonly #output: Output;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  get isTerminal(): boolean {
    return this.#output.isTerminal;
  }

  get columns(): number {
    return this.#output.columns;
  }

  /** One line. Awaiting it gives the reader time when much is waiting. */
  line(text: string = ""): Promise<void> {
    return this.bytes(Buffer.from(`${text}\n`, "utf8"));
  }

  /** One line of JSON. */
  json(value: unknown): Promise<void> {
    return this.line(JSON.stringify(value));
  }

  /** Text or bytes as they are. */
  bytes(bytes: Uint8Array): Promise<void> {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    return this.#bytes >= BUFFER_BYTES ? this.flush() : Promise.resolve();
  }

  /** Passes on everything written so far. */
  async flush(): Promise<void> {
    if (this.#bytes === 0) return;
    const all = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    await this.#output.write(all);
  }
}
