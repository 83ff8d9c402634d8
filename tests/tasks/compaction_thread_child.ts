/**
 * A program that closes its database in the middle of a compaction in a thread, and then has nothing left to do; and its
 * parent's side.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Closed, open, WriteBatch } from "../../mod.ts";

/** Rows that the program writes. */
export const ROWS = 40_000;

/** Time after which the program counts as hung, ms. */
const HUNG_MILLIS = 60_000;

async function closeDuringJob(folder: string): Promise<void> {
  const db = await open(folder, { compactor: { thread: true, minCompactionSources: 8 }, compression: "lz4" });
  for (let part = 0; part < 4; part++) {
    const batch = new WriteBatch();
    for (let i = part; i < ROWS; i += 4) batch.put(`key ${String(i).padStart(8, "0")}`, `${i} `.repeat(40));
    await db.write(batch, { durable: false });
    await db.flush({ kind: "memtable" });
  }
  const isRunning = new Promise<void>((resolve) => {
    db.onStatus(({ compactions }) => compactions.some(({ bytesIn }) => bytesIn > 0) && resolve());
  });
  const compacted = db.compact().then(() => "done", (error) => error instanceof Closed ? "closed" : String(error));
  await isRunning;
  await db.close();
  process.stdout.write(await compacted);
}

/** Runs the program on `folder`; answers what it printed, once it has ended by itself. */
export function closeInChild(folder: string): Promise<string> {
  const file = fileURLToPath(import.meta.url);
  const args = "Deno" in globalThis ? ["run", "-A", "--no-check", file] : [file];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args, "close-during-job", folder], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    let [text, trouble] = ["", ""];
    const hung = setTimeout(() => child.kill("SIGKILL"), HUNG_MILLIS);
    child.stdout.on("data", (chunk: Uint8Array) => void (text += new TextDecoder().decode(chunk)));
    child.stderr.on("data", (chunk: Uint8Array) => void (trouble += new TextDecoder().decode(chunk)));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(hung);
      if (code === 0) resolve(text);
      else reject(new Error(`the program ended with ${code ?? signal}: ${text} ${trouble}`));
    });
  });
}

if (process.argv[2] === "close-during-job" && import.meta.main !== false) await closeDuringJob(process.argv[3]!);
