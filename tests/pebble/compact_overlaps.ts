/**
 * Handler of `manifest-overlaps`: the tables that a compaction of a key range draws in.
 *
 * The tables are written by the engine, so that their spans are those that it tells. In level 0 everything that hangs
 * together goes along; in a run nothing overlaps, so it is what the range touches.
 *
 * @module
 */
import type { SstView } from "../../src/format/types.ts";
import { closeDownwards, spanOf, spansOfRun, type TableSpan } from "../../src/lsm/table_span.ts";
import { type PebbleSession, valueOf } from "./pebble_files.ts";
import { CREATED_AT, type PebbleRows, pointRow } from "./pebble_rows.ts";
import { PebbleTree, runIdOf } from "./pebble_tree.ts";
import { keyOf } from "./span_text.ts";

/** Handles `define` and `overlaps`. */
export function overlaps(): PebbleSession {
  let tree = new PebbleTree();
  /** Lines of the definition by table id. */
  let lines = new Map<string, string>();
  return {
    commands: {
      define: ({ input }) => {
        tree = new PebbleTree();
        lines = new Map();
        let level = 0;
        const l0: Array<{ readonly line: string; readonly rows: PebbleRows }> = [];
        for (const text of input) {
          const line = text.trim();
          const [, digit] = /^L(\d)(?:\.\d)?:$/.exec(line) ?? [];
          if (digit !== undefined) level = Number(digit);
          else if (level === 0) l0.push({ line, rows: rowsOf(line) });
          else {
            tree.addToRun(runIdOf(level), rowsOf(line));
            lines.set(tree.ids.at(-1)!, line);
          }
        }
        // Their numbers tell their age.
        for (const { line, rows } of l0.sort((a, b) => a.line < b.line ? -1 : 1)) {
          tree.addL0(rows);
          lines.set(tree.ids.at(-1)!, line);
        }
        return "";
      },
      overlaps: (block) => {
        const level = Number(valueOf(block, "level"));
        const range = {
          first: keyOf(valueOf(block, "start")!),
          end: keyOf(valueOf(block, "end")!),
          endInclusive: valueOf(block, "exclusive-end") === "false",
        };
        const taken = closeDownwards([range], [spansOf(tree, level)], []);
        const found = [...taken].map((id) => lines.get(id)!).sort();
        return [`${found.length} files:`, ...found].join("\n");
      },
    },
  };
}

function spansOf({ manifest }: PebbleTree, level: number): TableSpan[] {
  if (level === 0) return manifest.l0.map((view: SstView) => spanOf(view));
  return manifest.compacted.filter(({ id }) => id === runIdOf(level)).flatMap(spansOfRun);
}

/** Rows of a table with the bounds `number:[key#seq,KIND-key#seq,KIND]`. */
function rowsOf(line: string): PebbleRows {
  const match = /^\d+:\[(.*)#(\d+),([A-Z]+)-(.*)#(\d+|inf),([A-Z]+)\]$/.exec(line);
  if (match === null) throw new Error(`not a table: ${line}`);
  const [, first, firstSeq, firstKind, last, lastSeq, lastKind] = match.map(String);
  const rows: PebbleRows = { points: [], ranges: [] };
  const [start, end] = [keyOf(first!), keyOf(last!)];
  const point = (key: Uint8Array, seq: string, kind: string) => ({ ...pointRow("", Number(seq), kind, ""), key });
  if (firstKind !== "RANGEDEL") rows.points.push(point(start, firstSeq!, firstKind!));
  if (lastKind === "RANGEDEL") rows.ranges.push({ start, end, seq: Number(firstSeq), createTs: CREATED_AT });
  else if (last !== first || lastSeq !== firstSeq) rows.points.push(point(end, lastSeq!, lastKind!));
  return rows;
}
