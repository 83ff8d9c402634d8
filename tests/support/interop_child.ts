/**
 * A program that writes durable batches to a database folder until it is killed, and tells of each that was
 * acknowledged; and what its parent does with it.
 *
 * Batch `n` writes three keys of its own and the key `last`; every seventh asks for a memtable flush, so that a kill
 * strikes uploads and manifest commits as well as the log. Between batches it writes rows without waiting for them.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { open, WriteBatch } from "../../mod.ts";
import { type BatchOp, openOfficial, quickCompactor } from "./interop_official.ts";
import { assert } from "./suite.ts";

/** Keys that batch `n` writes, besides `last`. */
export function batchKeys(n: number): string[] {
  return ["a", "b", "c"].map((part) => `batch ${String(n).padStart(5, "0")} ${part}`);
}

/** What the program does with an open database. */
interface Target {
  batch(ops: readonly BatchOp[]): Promise<unknown>;
  /** Writes without waiting. */
  soft(key: string, value: string): void;
  /** Flushes without waiting. */
  flush(): void;
}

/** Ours as users open it; the official engine with a compactor that is always at work. */
async function openTarget(engine: string, folder: string): Promise<Target> {
  if (engine === "official") {
    const db = await openOfficial(folder, {
      settings: { l0_sst_size_bytes: 1500, min_filter_keys: 1, compactor_options: quickCompactor(2, 2) },
    });
    return {
      batch: (ops) => db.batch(ops),
      soft: (key, value) => void db.put(key, value),
      flush: () => void db.flush("memtable"),
    };
  }
  const db = await open(folder, { l0SstSizeBytes: 1500, minFilterKeys: 1, blockSizeBytes: 1024 });
  return {
    batch: (ops) => {
      const batch = new WriteBatch();
      for (const op of ops) if (op.op === "put") batch.put(op.key, op.value);
      return db.write(batch);
    },
    soft: (key, value) => void db.put(key, value, { durable: false }),
    flush: () => void db.flush({ kind: "memtable" }),
  };
}

async function write(engine: string, folder: string, first: number): Promise<never> {
  const db = await openTarget(engine, folder);
  process.stdout.write("open\n");
  for (let n = first;; n++) {
    db.soft(`soft ${n}`, `${n}`);
    if (n % 7 === 3) db.flush();
    await db.batch([
      { op: "put", key: "last", value: `${n}` },
      ...batchKeys(n).map((key): BatchOp => ({ op: "put", key, value: `${n} ${"x".repeat(n % 50)}` })),
    ]);
    process.stdout.write(`${n}\n`);
  }
}

/** Which program is started, and when it is killed. */
export interface KillOptions {
  /** Default "ours". */
  readonly engine?: "ours" | "official";
  /** What must hold besides the number of acknowledgements; asked at each of them. */
  readonly until?: () => boolean;
}

/**
 * Starts the program on `folder` with batch `first`, kills it (SIGKILL) once `acks` batches were acknowledged and
 * answers the number of the last one whose acknowledgement arrived.
 */
export function writeAndKill(
  folder: string,
  first: number,
  acks: number,
  { engine = "ours", until = () => true }: KillOptions = {},
): Promise<number> {
  const file = fileURLToPath(import.meta.url);
  const args = "Deno" in globalThis ? ["run", "-A", "--no-check", file] : [file];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, "write", engine, folder, String(first)], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    let text = "";
    let trouble = "";
    child.stdout.on("data", (chunk: Uint8Array) => {
      text += Buffer.from(chunk).toString();
      if (acknowledged(text) >= first + acks - 1 && until()) child.kill("SIGKILL");
    });
    child.stderr.on("data", (chunk: Uint8Array) => void (trouble += Buffer.from(chunk).toString()));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (signal === "SIGKILL") resolve(acknowledged(text));
      else reject(new Error(`the writing program ended by itself (${code ?? signal}): ${trouble}`));
    });
  });
}

/** The last whole number line; -1 when there is none. */
function acknowledged(text: string): number {
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).trim().split("\n");
  const last = Number(lines.at(-1));
  return lines.at(-1) === "" || Number.isNaN(last) ? -1 : last;
}

/** Fails unless every batch up to `acked` is there, later ones are whole or absent, and `last` tells the newest. */
export function judgeKilled(rows: ReadonlyMap<string, string>, acked: number): number {
  let newest = -1;
  for (let n = 0; n <= acked + 100; n++) {
    const found = batchKeys(n).filter((key) => rows.get(key)?.startsWith(`${n} `));
    if (found.length === 3) {
      assert.equal(newest, n - 1, `batch ${n} is there, one before it is not`);
      newest = n;
    } else assert.equal(found.length, 0, `batch ${n} is torn: ${found}`);
  }
  assert.ok(newest >= acked, `batch ${acked} was acknowledged, but the newest that is there is ${newest}`);
  assert.equal(rows.get("last"), newest < 0 ? undefined : `${newest}`);
  return newest;
}

if (process.argv[2] === "write" && import.meta.main !== false) {
  await write(process.argv[3]!, process.argv[4]!, Number(process.argv[5]));
}
