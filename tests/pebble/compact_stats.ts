/**
 * Handlers of `compaction_tombstones` and `table_stats`: how many rows and tombstones a table says it has.
 *
 * Upstream names tables by number. A definition numbers its tables from 4; later ones are known by the listings that
 * commands print: a number that is new there stands for the new table of ours that begins with the same key. Where ours
 * were laid out otherwise since, it stands for the newest table that reaches over that key.
 *
 * @module
 */
import type { SstView } from "../../src/format/types.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { type AdaptedAnswer, type PebbleBlock, type PebbleSession, valuesOf } from "./pebble_files.ts";
import { bytesOf, parseRows, textOf } from "./pebble_rows.ts";
import { PebbleTree, runIdOf } from "./pebble_tree.ts";
import { expandBytes, StatsTree } from "./stats_tree.ts";
import { compareCounts } from "./table_counts.ts";
import { compactRange } from "./tree_compaction.ts";

/** Number of the first table of a definition. */
const FIRST_TABLE = 4;
/** A read that sees everything. */
const NEWEST = Number.MAX_SAFE_INTEGER;

/** Handles the commands of both files. */
export function tableStats(): PebbleSession {
  let session = new NamedTables(undefined);
  const nothing = (): string => "";
  /** After a command that changes tables, its output names them. */
  const naming = (run: (block: PebbleBlock) => void | Promise<void>) => async (block: PebbleBlock): Promise<string> => {
    await run(block);
    session.readListing(block.expected);
    return "";
  };
  return {
    commands: {
      define: naming((block) => {
        session = new NamedTables(block);
      }),
      batch: ({ input }) => {
        session.tables.batch(input);
        return "";
      },
      flush: naming(() => session.tables.flush()),
      build: ({ args, input }) => {
        session.tables.build(args[0]!.key, input);
        return "";
      },
      ingest: naming(({ args, input }) => session.tables.ingest(args[0]!.key, input)),
      compact: naming((block) => session.compact(block)),
      "wait-pending-table-stats": (block) => session.compare(block),
      // Tables and what is known of them do not depend on what is open, nor on when statistics are looked for.
      reopen: nothing,
      close: nothing,
      disable: nothing,
      enable: nothing,
      "close-snapshot": nothing,
    },
    skipped: async (block) => {
      if (block.name === "ingest-and-excise") await session.exciseAndIngest(block);
      if (block.name === "lsm") session.readListing(block.expected);
    },
  };
}

/** A table in a listing. */
interface Listed {
  /** The key that it begins with. */
  readonly first: string;
  /** Our table, if it is known. */
  id: string | undefined;
}

/** A tree whose tables have upstream's numbers. */
class NamedTables {
  readonly tables: StatsTree;
  readonly #numbers: Map<number, Listed> = new Map();
  readonly #options: { readonly maxSstBytes: number; readonly minSeq: number };

  constructor(define: PebbleBlock | undefined) {
    const tree = new PebbleTree();
    this.tables = new StatsTree(tree);
    const sizes = define === undefined ? [] : valuesOf(define, "target-file-sizes").map(Number);
    const snapshots = define === undefined ? [] : valuesOf(define, "snapshots").map((seq) => Number(seq) - 1);
    this.#options = { maxSstBytes: sizes.at(-1) ?? 1 << 20, minSeq: Math.min(NEWEST, ...snapshots) };
    const definitions: Array<{ readonly level: number; readonly lines: string[] }> = [];
    for (const line of define?.input ?? []) {
      const [, level] = /^L(\d)$/.exec(line) ?? [];
      if (level !== undefined) definitions.push({ level: Number(level), lines: [] });
      // Tables of range keys keep their number, and are nothing.
      else if (!line.trim().startsWith("rangekey:")) definitions.at(-1)!.lines.push(expandBytes(line));
    }
    for (const [i, { level, lines }] of definitions.entries()) {
      const rows = parseRows(lines.map(withoutZeros));
      if (rows.points.length + rows.ranges.length === 0) continue;
      if (level === 0) tree.addL0(rows);
      else tree.addToRun(runIdOf(level), rows);
      const first = textOf(this.#view(tree.ids.at(-1)!)!.info.firstEntry!);
      this.#numbers.set(FIRST_TABLE + i, { first, id: tree.ids.at(-1)! });
    }
  }

  /** Learns the numbers of tables from a listing of all of them, newest level first. */
  readListing(text: string): void {
    for (const [, digits, first] of text.matchAll(/^ +(\d+)(?:\(\d+\))?:\[([^#]+)#/gm)) {
      const number = Number(digits);
      if (this.#numbers.has(number)) continue;
      const known = new Set([...this.#numbers.values()].map(({ id }) => id));
      const isNew = ({ sstId, info }: SstView) => !known.has(sstId) && textOf(info.firstEntry!) === first;
      this.#numbers.set(number, { first: first!, id: this.tables.views.find(isNew)?.sstId });
    }
  }

  async compact({ args }: PebbleBlock): Promise<void> {
    const [keys, level] = args.map(({ key }) => key);
    const [first, last] = keys!.split("-");
    const at = level === undefined ? undefined : Number(level.slice(1));
    await compactRange(this.tables.tree, { first: first!, last: last! }, at, this.#options);
  }

  async exciseAndIngest(block: PebbleBlock): Promise<void> {
    const [start, end] = valuesOf(block, "excise")[0]!.split("-");
    await this.tables.excise(start!, end!);
    this.tables.ingest(block.args[0]!.key, []);
  }

  /** Compares the counts of the table that a block names. */
  compare(block: PebbleBlock): Promise<AdaptedAnswer> {
    const number = Number(block.input[0]);
    const listed = this.#numbers.get(number);
    if (listed === undefined) throw new Error(`no listing names table ${number}`);
    const { tree } = this.tables;
    const key = bytesOf(listed.first);
    const view = this.#view(listed.id) ??
      this.tables.views.find((one) => new TableRef(tree.tables.table(one), one).admits(key));
    if (view === undefined) throw new Error(`no table reaches over ${listed.first}`);
    return compareCounts(block, tree.store, tree.tables.table(view));
  }

  #view(id: string | undefined): SstView | undefined {
    return this.tables.views.find(({ sstId }) => sstId === id);
  }
}

/** `a#001,SET:` as `a#1,SET:`. */
function withoutZeros(line: string): string {
  return line.replace(/#0+(\d)/g, "#$1");
}
