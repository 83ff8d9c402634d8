/**
 * Numbers and tables for people: sizes, counts, dollars, aligned columns.
 *
 * @module
 */
import { DateTime } from "effect";

/** Farthest time from 1970 that has a calendar date, ms. */
const TIME_MILLIS_MAX = 8.64e15;

const SIZE_UNITS: readonly string[] = ["KiB", "MiB", "GiB", "TiB"];

/** A size such as "512 B" or "3.4 MiB". */
export function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < SIZE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ${SIZE_UNITS[unit]}`;
}

/** A whole number with thousands apart: "1,234,567". */
export function countText(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+(?!\d))/g, ",");
}

/** "1 file", "2 files". */
export function plural(count: number, one: string, many: string = `${one}s`): string {
  return `${countText(count)} ${count === 1 ? one : many}`;
}

/** Dollars with two digits that tell something: "$1.25", "$0.0041". */
export function dollarText(dollars: number): string {
  if (dollars >= 1) return `$${dollars.toFixed(2)}`;
  const rounded = Number(dollars.toPrecision(2));
  return rounded === 0 ? "$0" : `$${rounded.toFixed(Math.min(12, 1 - Math.floor(Math.log10(rounded))))}`;
}

/** Seconds such as "0.42 s" or "12.3 s". */
export function secondsText(millis: number): string {
  return millis < 10_000 ? `${(millis / 1000).toFixed(2)} s` : `${(millis / 1000).toFixed(1)} s`;
}

/** A time in ms since 1970 as ISO text; undefined for no time. */
export function timeText(millis: number | undefined): string | undefined {
  if (millis === undefined || !(Math.abs(millis) <= TIME_MILLIS_MAX)) return undefined;
  return DateTime.formatIso(DateTime.makeUnsafe(millis));
}

/** Rows as aligned columns; columns whose cells are all numbers or sizes are aligned to the right. */
export function columns(rows: ReadonlyArray<readonly string[]>, indent: string = ""): string[] {
  const widths: number[] = [];
  const numeric: boolean[] = [];
  rows.forEach((row, r) =>
    row.forEach((cell, c) => {
      widths[c] = Math.max(widths[c] ?? 0, cell.length);
      if (r > 0) numeric[c] = (numeric[c] ?? true) && /^(?:-|\$?[\d.,]+(?: (?:B|[KMGT]iB))?)$/.test(cell);
    })
  );
  return rows.map((row) =>
    (indent + row.map((cell, c) => {
      if (numeric[c] === true) return cell.padStart(widths[c]!);
      return c === row.length - 1 ? cell : cell.padEnd(widths[c]!);
    }).join("  ")).trimEnd()
  );
}
