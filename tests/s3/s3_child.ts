/**
 * A program that writes to a database in S3 as another process would, and what its parent does with it.
 *
 * `load`: durable batches until it is killed, telling of each that was acknowledged. `race`: at each line "go <root>" it
 * opens that database and puts durable rows until it is fenced or reads "stop"; it tells how either ended.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Closed, open, WriteBatch } from "../../mod.ts";
import { batchKeys } from "../support/interop_child.ts";
import type { S3Place } from "../support/s3/server.ts";
import { s3Store, storeOptions } from "./places.ts";

/** Longest that a program is waited for, ms. */
const PATIENCE_MILLIS = 40_000;
const SMALL = { l0SstSizeBytes: 4000, blockSizeBytes: 1024, minFilterKeys: 1 } as const;

/** A program of this file, as its parent holds it. */
export class S3Child {
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  /** All lines so far. */
  readonly lines: string[] = [];
  #trouble = "";
  #end: string | undefined;

  constructor(task: "load" | "race", place: S3Place, name: string) {
    const file = fileURLToPath(import.meta.url);
    const args = "Deno" in globalThis ? ["run", "-A", "--no-check", file] : [file];
    this.#child = spawn(process.execPath, [...args, `s3-${task}`, JSON.stringify(place), name], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      this.lines.push(line);
      this.#wake();
    });
    this.#child.stderr!.on("data", (chunk: Uint8Array) => void (this.#trouble += Buffer.from(chunk).toString()));
    this.#child.stdin!.on("error", () => {});
    this.#child.on("error", (error) => this.#ended(error.message));
    this.#child.on("close", (code, signal) => this.#ended(String(code ?? signal)));
  }

  /** Writes a line to it. */
  tell(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** SIGKILL. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Resolves once `isSo` of its lines; rejects when the program ends before, or says nothing that helps for long. */
  async until(isSo: (lines: readonly string[]) => boolean): Promise<void> {
    let limit: ReturnType<typeof setTimeout> | undefined;
    let expired = false;
    try {
      while (!isSo(this.lines)) {
        const last = `its last line: ${this.lines.at(-1)}, its troubles: ${this.#trouble}`;
        if (this.#end !== undefined) throw new Error(`the program has ended (${this.#end}); ${last}`);
        if (expired) throw new Error(`waited for the program in vain; ${last}`);
        limit ??= setTimeout(() => {
          expired = true;
          this.#wake();
        }, PATIENCE_MILLIS);
        await new Promise<void>((resolve) => void this.#waiting.add(resolve));
      }
    } finally {
      clearTimeout(limit);
    }
  }

  /** Waits for its end: its exit code or signal. */
  async end(): Promise<string> {
    while (this.#end === undefined) await new Promise<void>((resolve) => void this.#waiting.add(resolve));
    return this.#end;
  }

  #ended(how: string): void {
    this.#end ??= how;
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}

/** Batch after batch from number `first` on, until the process is killed. */
async function load(place: S3Place, [root = "", first = "0"]: readonly string[]): Promise<never> {
  // Whoever started it is gone.
  process.stdin.on("end", () => process.exit(1)).resume();
  const db = await open({ store: s3Store(storeOptions(place)), path: root }, SMALL);
  for (let n = Number(first);; n++) {
    void db.put(`soft ${n}`, `${n}`, { durable: false });
    if (n % 7 === 3) void db.flush({ kind: "memtable" });
    const batch = new WriteBatch();
    batch.put("last", `${n}`);
    for (const key of batchKeys(n)) batch.put(key, `${n} ${"x".repeat(n % 50)}`);
    await db.write(batch);
    process.stdout.write(`${n}\n`);
  }
}

/** One round after the other, each at a line "go <root>". */
async function race(place: S3Place, name: string): Promise<void> {
  const store = s3Store(storeOptions(place));
  let stopped = false;
  let round: Promise<void> = Promise.resolve();
  const compete = async (root: string) => {
    try {
      const db = await open({ store, path: root }, SMALL);
      process.stdout.write("open\n");
      for (let n = 0; !stopped; n++) {
        await db.put(`${name} ${n}`, `${n}`);
        process.stdout.write(`ack ${root} ${name} ${n}\n`);
        if (n % 5 === 4) void db.flush({ kind: "memtable" }).catch(() => {});
      }
      await db.close();
      process.stdout.write("closed clean\n");
    } catch (error) {
      process.stdout.write(`closed ${error instanceof Closed ? error.reason : String(error)}\n`);
    }
  };
  process.stdout.write("ready\n");
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "stop") {
      stopped = true;
      await round;
    } else {
      await round;
      stopped = false;
      round = compete(line.slice("go ".length));
    }
  }
  process.exit(0);
}

const [, , task, place, ...rest] = process.argv;
if (task === "s3-load") await load(JSON.parse(place!) as S3Place, rest[0]!.split(" "));
if (task === "s3-race") await race(JSON.parse(place!) as S3Place, rest[0]!);
