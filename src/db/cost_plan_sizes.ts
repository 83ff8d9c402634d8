/**
 * Sizes of objects that would be written, measured on samples that the real encoders make.
 *
 * Samples are small and always the same; what lies beyond them is taken to grow evenly.
 *
 * @module
 */
import { SstBuilder } from "../format/sst_builder.ts";
import type { SstOptions } from "../format/sst_output.ts";
import { NO_EXPIRY } from "../format/types.ts";
import { WalSstBuilder } from "../format/wal_sst.ts";
import { Memtable } from "../lsm/memtable.ts";

/** Rows of a sample, at most, and bytes of its values. */
const SAMPLE_ROWS = 2048;
const SAMPLE_BYTES = 1024 * 1024;
/** Longest value of a sample; what a row has above this is added as it is. */
const SAMPLE_VALUE_BYTES = 65_536;
/** Objects of the log with so many rows are encoded, not estimated. */
const EXACT_ROWS = 64;

/** What rows look like. */
export interface RowShape {
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly isAscending: boolean;
  readonly compressionRatio: number;
  readonly blockSizeBytes: number;
  readonly minFilterKeys: number;
  readonly filterBitsPerKey: number;
}

/** Sizes of a table. */
export interface TableSizes {
  /** Bytes of the blocks. */
  readonly data: number;
  readonly filter: number;
  readonly index: number;
  /** Bytes of the object. */
  readonly file: number;
}

/** Sizes of objects made of rows of one shape. */
export class RowSizes {
  readonly #shape: RowShape;
  readonly #sample: Sample;
  readonly #walRow: number;
  readonly #walBase: number;
  /** Bytes of a row that count towards the size of a memtable. */
  readonly memtableRowBytes: number;

  constructor(shape: RowShape) {
    this.#shape = shape;
    const valueBytes = Math.min(shape.valueBytes, SAMPLE_VALUE_BYTES);
    const rows = Math.max(8, Math.min(SAMPLE_ROWS, Math.floor(SAMPLE_BYTES / (shape.keyBytes + valueBytes))));
    this.#sample = sampleTable(shape, valueBytes, rows);
    const [half, whole] = [this.#encodeLog(rows >> 1), this.#encodeLog(rows)];
    this.#walRow = (whole - half) / (rows - (rows >> 1));
    this.#walBase = whole - rows * this.#walRow;
    this.memtableRowBytes = memtableRow(shape.keyBytes, valueBytes) + (shape.valueBytes - valueBytes) * 1.015;
  }

  /** Bytes of an object of the log with so many rows, on average. */
  walObject(rows: number): number {
    if (rows > EXACT_ROWS) return this.#walBase + rows * this.#walRow;
    const below = Math.max(1, Math.floor(rows));
    const bytes = this.#encodeLog(below);
    return bytes + (rows - below) * this.#walRow;
  }

  /** Sizes of a table with so many rows. */
  table(rows: number): TableSizes {
    const { compressionRatio, filterBitsPerKey, minFilterKeys } = this.#shape;
    const scale = rows / this.#sample.rows;
    const data = this.#sample.data * scale * compressionRatio;
    const filter = filterBitsPerKey > 0 && rows >= minFilterKeys ? rows * filterBitsPerKey / 8 + 6 : 0;
    const index = this.#sample.index * scale;
    return { data, filter, index, file: data + filter + index + this.#sample.rest * scale + 200 };
  }

  #encodeLog(rows: number): number {
    const { keyBytes, valueBytes, blockSizeBytes } = this.#shape;
    const sampled = Math.min(valueBytes, SAMPLE_VALUE_BYTES);
    const builder = new WalSstBuilder({ ...tableOptions(this.#shape), blockSizeBytes, minFilterKeys: Infinity });
    const value = new Uint8Array(sampled);
    for (let row = 0; row < rows; row++) {
      const key = keyOfRow(row, rows, keyBytes, this.#shape.isAscending);
      builder.add(key, 0, keyBytes, row + 1, 0, 1, NO_EXPIRY, value, 0, sampled);
    }
    return builder.finish().length + rows * (valueBytes - sampled);
  }
}

interface Sample {
  readonly rows: number;
  readonly data: number;
  readonly index: number;
  /** Statistics. */
  readonly rest: number;
}

function tableOptions({ blockSizeBytes, minFilterKeys, filterBitsPerKey }: RowShape): SstOptions {
  return { blockSizeBytes, compression: 0, minFilterKeys, filterBitsPerKey };
}

function sampleTable(shape: RowShape, valueBytes: number, rows: number): Sample {
  const builder = new SstBuilder(tableOptions(shape));
  const value = new Uint8Array(valueBytes);
  for (let row = 0; row < rows; row++) {
    // In the order of a table: neighbours are as near as those of a full one would be, for keys in any order too.
    const key = sortedKey(row, rows, shape.keyBytes, shape.isAscending);
    // Short keys repeat: newer rows come first.
    builder.add(key, 0, shape.keyBytes, rows - row, 0, 1, NO_EXPIRY, value, 0, valueBytes);
  }
  const { info } = builder.finish();
  return {
    rows,
    data: info.filterOffset + rows * (shape.valueBytes - valueBytes),
    index: info.indexLen,
    rest: info.statsLen,
  };
}

function memtableRow(keyBytes: number, valueBytes: number): number {
  const rows = 8;
  const sizeOf = (count: number): number => {
    const memtable = new Memtable();
    const value = new Uint8Array(valueBytes);
    for (let row = 0; row < count; row++) {
      memtable.insert(
        sortedKey(row, rows, keyBytes, false),
        0,
        keyBytes,
        row + 1,
        0,
        1,
        NO_EXPIRY,
        value,
        0,
        valueBytes,
      );
    }
    return memtable.estimatedSstBytes;
  };
  return (sizeOf(rows) - sizeOf(rows / 2)) / (rows / 2);
}

/** Key number `row` of `rows` in ascending order: spread over all keys, or counted in its last bytes. */
function sortedKey(row: number, rows: number, keyBytes: number, isAscending: boolean): Uint8Array {
  const key = new Uint8Array(keyBytes);
  const number = isAscending ? row : Math.floor((row + 0.5) / rows * 2 ** 32);
  const start = isAscending ? Math.max(0, keyBytes - 4) : 0;
  for (let i = 0; i < Math.min(4, keyBytes); i++) {
    const shift = isAscending ? Math.min(4, keyBytes) - 1 - i : 3 - i;
    key[start + i] = Math.floor(number / 2 ** (8 * shift)) % 256;
  }
  return key;
}

/** Key of a row of the log: neighbours have nothing in common unless they ascend. */
function keyOfRow(row: number, rows: number, keyBytes: number, isAscending: boolean): Uint8Array {
  if (isAscending) return sortedKey(row, rows, keyBytes, true);
  return sortedKey((row * 1021) % rows, rows, keyBytes, false);
}
