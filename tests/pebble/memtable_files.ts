/**
 * Handlers of `delete_range`: what a memtable holds after batches with range deletes.
 *
 * @module
 */
import { END } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import type { PebbleHandlers, PebbleSession } from "./pebble_files.ts";
import { pointRow, rangeRow, showFragments, showRow } from "./pebble_rows.ts";
import { insertInto } from "./pebble_tree.ts";

const KINDS: Readonly<Record<string, string>> = { set: "SET", del: "DEL", merge: "MERGE" };

function deleteRange(): PebbleSession {
  let memtable = new Memtable();
  let seq = 0;
  return {
    commands: {
      define: (block) => {
        for (const line of block.input) {
          const [name, ...words] = line.split(" ").map((word) => word === "<nil>" ? "" : word);
          if (name === "del-range") insertInto(memtable, [], [rangeRow(words[0]!, words[1]!, seq)]);
          else insertInto(memtable, [pointRow(words[0]!, seq, KINDS[name!]!, words[1] ?? "")], []);
          seq++;
        }
        return "";
      },
      scan: (block) => {
        if (block.args.length > 0) {
          return adapted(block.expected, showFragments(RangeSet.of(memtable.ranges.all())));
        }
        const rows: string[] = [];
        const cursor = memtable.cursor();
        for (let move = cursor.first(); move !== END; move = cursor.next()) rows.push(showRow(cursor));
        return adapted(block.expected, rows);
      },
      clear: () => {
        memtable = new Memtable();
        seq = 0;
        return "";
      },
    },
  };
}

function adapted(theirs: string, lines: ReadonlyArray<string>): { ours: string; theirs: string } {
  return { ours: lines.join("\n"), theirs };
}

/** By file name. */
export const MEMTABLE_FILES: PebbleHandlers = { "delete_range": deleteRange };
