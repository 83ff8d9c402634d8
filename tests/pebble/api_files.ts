/**
 * Handlers of the files that work through the public API: `snapshot`, `batch_get`, `iter_histories-merge`.
 *
 * @module
 */
import type { Db, Snapshot } from "../../src/db/api.ts";
import type { Transaction } from "../../src/db/transaction_api.ts";
import { openEmpty, write, writesOf } from "./api_world.ts";
import { type PebbleBlock, type PebbleHandlers, type PebbleSession, valueOf } from "./pebble_files.ts";
import { textOf } from "./pebble_rows.ts";
import { runOperations, showBrief, showPair } from "./user_walk.ts";

const UNBOUNDED = { lower: undefined, upper: undefined };
const NOT_FOUND = "pebble: not found";

/** A database with the snapshots of a file. */
class SnapshotWorld {
  readonly db: Db;
  readonly flushes: boolean;
  readonly snapshots: Map<string, Snapshot> = new Map();

  /** @param flushes whether every write is followed by a flush, so that versions lie in many tables */
  constructor(db: Db, flushes: boolean) {
    this.db = db;
    this.flushes = flushes;
  }

  async execute(line: string): Promise<void> {
    const [name, word] = line.split(" ");
    if (name === "snapshot") {
      this.snapshots.set(word!, await this.db.snapshot());
    } else if (name === "compact") {
      const [gte, lte] = word!.split("-");
      await this.db.compact({ gte: gte!, lte: lte! });
    } else {
      await write(writesOf(this.db), line);
      if (this.flushes) await this.db.flush({ kind: "memtable" });
    }
  }

  async close(): Promise<void> {
    for (const snapshot of this.snapshots.values()) await snapshot.release();
    await this.db.close();
  }
}

function snapshot(): PebbleSession {
  let worlds: SnapshotWorld[] = [];
  const close = async (): Promise<void> => {
    for (const world of worlds.splice(0)) await world.close();
  };
  return {
    commands: {
      define: async (block) => {
        await close();
        worlds = [new SnapshotWorld(await openEmpty(), false), new SnapshotWorld(await openEmpty(), true)];
        for (const world of worlds) for (const line of block.input) await world.execute(line);
        return "";
      },
      iter: async (block) => {
        const answers: string[] = [];
        for (const { snapshots } of worlds) {
          const reads = snapshots.get(valueOf(block, "snapshot")!)!;
          answers.push(await runOperations(block.input, UNBOUNDED, () => reads.cursor(), showBrief));
        }
        if (answers[0] !== answers[1]) throw new Error(`flushed:\n${answers[1]}\nin memory:\n${answers[0]}`);
        return answers[0]!;
      },
    },
    close,
  };
}

async function batchGet(): Promise<PebbleSession> {
  const db = await openEmpty();
  let batch: Transaction | undefined;
  return {
    commands: {
      define: async (block) => {
        await batch?.rollback();
        batch = await db.begin();
        for (const line of block.input) await write(batch, line);
        return "";
      },
      // `get k` has its key in the command line.
      get: async (block) => {
        const value = await batch!.get(block.args[0]!.key);
        return value === undefined ? NOT_FOUND : textOf(value);
      },
      commit: async () => {
        await batch!.commit({ durable: false });
        batch = undefined;
        return "";
      },
    },
    close: async () => {
      await batch?.rollback();
      await db.close();
    },
  };
}

/** A reader of `iter_histories-merge`: the database, or the database through a batch. */
type Reader = Pick<Transaction, "get" | "cursor">;

async function histories(): Promise<PebbleSession> {
  let db = await openEmpty();
  const batches = new Map<string, ReadonlyArray<string>>();
  // A batch of upstream reads the database as it is; a transaction as it was at its begin. So it begins when it reads.
  const reading = async <A>(block: PebbleBlock, read: (reader: Reader) => Promise<A>): Promise<A> => {
    const name = valueOf(block, "reader");
    if (name === undefined) return await read(db);
    const batch = await db.begin();
    try {
      for (const line of batches.get(name)!) await write(batch, line);
      return await read(batch);
    } finally {
      await batch.rollback();
    }
  };
  return {
    commands: {
      reset: async () => {
        await db.close();
        db = await openEmpty();
        return "";
      },
      batch: async (block) => {
        const name = valueOf(block, "name");
        if (name !== undefined) batches.set(name, block.input);
        else for (const line of block.input) await write(writesOf(db), line);
        return "";
      },
      "combined-iter": (block) =>
        reading(block, (reader) => runOperations(block.input, UNBOUNDED, () => reader.cursor(), showPair)),
      get: (block) =>
        reading(block, async (reader) => {
          const lines: string[] = [];
          for (const key of block.input) {
            const value = await reader.get(key);
            lines.push(value === undefined ? `${key}: ${NOT_FOUND}` : `${key}: ${textOf(value)}`);
          }
          return lines.join("\n");
        }),
    },
    close: () => db.close(),
  };
}

/** By file name. */
export const API_FILES: PebbleHandlers = {
  "snapshot": snapshot,
  "batch_get": batchGet,
  "iter_histories-merge": histories,
};
