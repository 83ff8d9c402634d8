/**
 * The handles of a script: what its names stand for, and what becomes of them.
 *
 * Invariants:
 * - A name stays bound after its handle was closed, so that use after the end can be tried; a crash unbinds it, with
 *   everything that was made of it.
 * - What no name stands for any more is let go of: the memory of a script that binds one name again and again is
 *   bounded, and so is the number of names.
 *
 * @module
 */
import type { DbReader } from "../../db/admin_api.ts";
import type { Db, ScanIterator, Snapshot } from "../../db/api.ts";
import type { Transaction } from "../../db/transaction_api.ts";
import { Closed, InvalidArgument } from "../../errors.ts";
import type { ObjectStoreShape } from "../../store/object_store.ts";
import type { Lifeline } from "./lifeline.ts";
import type { Step } from "./step_values.ts";

/** Most names at once. */
const HANDLES_MAX = 10_000;

/** An open writer and its way to the store. */
export interface DbHandle {
  readonly kind: "db";
  readonly reads: Db;
  readonly life: Lifeline;
  readonly store: ObjectStoreShape;
  /** Whether it writes a log. */
  readonly hasLog: boolean;
}

/** An open reader and its way to the store. */
export interface ReaderHandle {
  readonly kind: "reader";
  readonly reads: DbReader;
  readonly life: Lifeline;
}

/** What is made of a writer or a reader. */
export type ChildHandle =
  | { readonly kind: "snapshot"; readonly reads: Snapshot }
  | { readonly kind: "transaction"; readonly reads: Transaction }
  | { readonly kind: "checkpoint"; readonly id: string }
  | { readonly kind: "iterator"; readonly iterator: ScanIterator };

/** Something a name stands for. */
export type Handle = DbHandle | ReaderHandle | ChildHandle;

/** What the kinds are called in messages. */
const KINDS: Readonly<Record<Handle["kind"], string>> = {
  db: "a database",
  reader: "a reader",
  snapshot: "a snapshot",
  transaction: "a transaction",
  checkpoint: "a checkpoint",
  iterator: "an iterator",
};

/** Names and what they stand for. */
export class Handles {
  readonly #bound = new Map<string, Handle>();
  /** The writer or reader that a handle was made of. */
  readonly #origins = new WeakMap<Handle, Handle>();

  /** The handle that `on` names; it must be of one of `kinds`. @throws InvalidArgument reason "step" */
  named<K extends Handle["kind"]>(step: Step, ...kinds: readonly K[]): Extract<Handle, { readonly kind: K }> {
    const name = (step["on"] ?? "db") as string;
    return this.get(name, ...kinds);
  }

  /** The handle of that name. @throws InvalidArgument reason "step" */
  get<K extends Handle["kind"]>(name: string, ...kinds: readonly K[]): Extract<Handle, { readonly kind: K }> {
    const handle = this.#bound.get(name);
    if (handle === undefined) {
      const way = name === "db" ? 'send {"op":"open"} first' : 'a step with "as" gives names';
      throw refused(`nothing is called ${name.slice(0, 100)}; ${way}`);
    }
    if (!(kinds as readonly string[]).includes(handle.kind)) {
      const wanted = kinds.map((kind) => KINDS[kind]).join(" or ");
      throw refused(`${name.slice(0, 100)} is ${KINDS[handle.kind]}; the step needs ${wanted}`);
    }
    return handle as Extract<Handle, { readonly kind: K }>;
  }

  /** The writer or reader that a handle was made of, or is. */
  originOf(handle: Handle): Handle {
    return this.#origins.get(handle) ?? handle;
  }

  /** Refuses a further name when there are too many. @throws InvalidArgument reason "step" */
  demandRoom(name: string): void {
    if (this.#bound.has(name) || this.#bound.size < HANDLES_MAX) return;
    throw refused(`no more than ${HANDLES_MAX} names can be bound; bind one of them again`);
  }

  /** Binds a name, and lets go of what it stood for. */
  async bind(name: string, handle: Handle, origin?: Handle): Promise<void> {
    const before = this.#bound.get(name);
    this.#bound.set(name, handle);
    if (origin !== undefined) this.#origins.set(handle, this.originOf(origin));
    if (before === undefined) return;
    // Nobody can reach it any more, and a newer writer has fenced it: what it still held is lost in any case.
    if (before.kind === "db") before.life.die();
    await letGo(before).catch(() => {});
  }

  /** Unbinds a handle and everything that was made of it. */
  unbind(handle: Handle): void {
    for (const [name, other] of this.#bound) {
      if (this.originOf(other) === handle) this.#bound.delete(name);
    }
  }

  /** The open writers. */
  *writers(): Generator<Db> {
    for (const handle of this.#bound.values()) {
      if (handle.kind === "db" && handle.reads.status.closeReason === undefined) yield handle.reads;
    }
  }

  /** Ends everything, in an order in which nothing lacks what it was made of. Rejects with the first failure. */
  async end(): Promise<void> {
    const order: ReadonlyArray<Handle["kind"]> = ["iterator", "transaction", "snapshot", "reader", "db"];
    const failures: unknown[] = [];
    for (const kind of order) {
      for (const handle of this.#bound.values()) {
        if (handle.kind === kind) await letGo(handle).catch((error) => failures.push(error));
      }
    }
    this.#bound.clear();
    if (failures.length > 0) throw failures[0];
  }
}

/** Ends one handle. That another writer took its place, or that it was closed before, is no failure. */
async function letGo(handle: Handle): Promise<void> {
  try {
    if (handle.kind === "iterator") await handle.iterator.return();
    else if (handle.kind === "snapshot") handle.reads.release();
    // It fails when the transaction has ended, which nobody needs to know here.
    else if (handle.kind === "transaction") await handle.reads.rollback().catch(() => {});
    else if (handle.kind !== "checkpoint" && handle.reads.status.closeReason === undefined) await handle.reads.close();
  } catch (error) {
    if (error instanceof Closed && error.reason !== "failed") return;
    throw error;
  }
}

/** The error of a step that cannot be run. */
export function refused(what: string): InvalidArgument {
  return new InvalidArgument({ reason: "step", message: `Cannot run the step: ${what}` });
}
