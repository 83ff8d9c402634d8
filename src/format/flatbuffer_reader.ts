/**
 * Reads FlatBuffers that nobody has verified: every offset is checked before it is followed.
 *
 * ```text
 * buffer   u32 position of the root table | …
 * table    i32 distance back to its vtable | fields      vtable   u16 own length | u16 table length | u16 per slot
 * vector   u32 count | elements                          offsets  u32, forward from where they are stored
 * ```
 *
 * All little-endian. Invariants: no byte outside the buffer is read; nothing is allocated on the word of a count that
 * the bytes left cannot hold; the work of one buffer is at most {@linkcode WORK_FACTOR} times its length even if its
 * offsets overlap, since every vector element and table is paid for; nesting is as deep as the calls of a codec. Bad
 * bytes are a `FormatError` and never another exception. Alignment, unknown slots and padding are not looked at.
 *
 * @module
 */
import { type DataErrorReason, FormatError } from "../errors.ts";
import { NO_TICK } from "./types.ts";

/**
 * How many times its own length a buffer may be read in total. Writers that store nothing twice need 1; more leaves
 * room for writers that share equal parts.
 */
const WORK_FACTOR = 8;

const TWO_32 = 0x100000000;
const I64_MIN_HIGH = -0x80000000;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** One FlatBuffer: the bytes from `start` to the end of an array. */
export class FlatReader {
  /** The array; positions are indexes into it. */
  readonly bytes: Uint8Array;
  /** Name of the part in errors. */
  readonly section: string;
  readonly #start: number;
  #workLeft: number;

  /**
   * @param bytes the array that holds the buffer
   * @param section name of the part, for errors
   * @param start where the buffer begins
   */
  constructor(bytes: Uint8Array, section: string, start: number = 0) {
    this.bytes = bytes;
    this.section = section;
    this.#start = start;
    this.#workLeft = WORK_FACTOR * Math.max(0, bytes.length - start);
  }

  /** The root table. */
  root(): FlatTable {
    if (this.bytes.length - this.#start < 8) this.fail(this.bytes.length, "the buffer ends early", "truncated");
    return this.tableAt(this.#start);
  }

  /** The table that the offset stored at `at` points to. */
  tableAt(at: number): FlatTable {
    const position = this.follow(at);
    this.pay(position, 4);
    const distance = this.u32(position) | 0;
    const vtable = position - distance;
    if (vtable < this.#start || vtable + 4 > this.bytes.length) this.fail(position, "vtable outside the buffer");
    const vtableLength = this.u16(vtable);
    const tableLength = this.u16(vtable + 2);
    if (vtableLength < 4 || (vtableLength & 1) === 1 || vtable + vtableLength > this.bytes.length) {
      this.fail(vtable, `vtable of ${vtableLength} bytes`);
    }
    if (tableLength < 4 || position + tableLength > this.bytes.length) {
      this.fail(position, `table of ${tableLength} bytes`);
    }
    return new FlatTable(this, position, tableLength, vtable, vtableLength);
  }

  /** Count of the vector that the offset stored at `at` points to, checked against the bytes left; see `vectorStart`. */
  vectorLength(at: number, elementSize: number): number {
    const position = this.follow(at);
    const count = this.u32(position);
    const left = this.bytes.length - position - 4;
    if (count > Math.floor(left / elementSize)) {
      this.fail(position, `vector of ${count} elements of ${elementSize} bytes with ${left} bytes left`);
    }
    this.pay(position, 4 + count * elementSize);
    return count;
  }

  /** Where the elements of that vector begin. */
  vectorStart(at: number): number {
    return this.follow(at) + 4;
  }

  /** Where the offset stored at `at` leads; at least 4 bytes lie there. `at` must be checked. */
  follow(at: number): number {
    const target = at + this.u32(at);
    if (target === at || target + 4 > this.bytes.length) this.fail(at, `offset to ${target} of ${this.bytes.length}`);
    return target;
  }

  /** Two checked bytes. */
  u16(at: number): number {
    return this.bytes[at]! | (this.bytes[at + 1]! << 8);
  }

  /** Four checked bytes. */
  u32(at: number): number {
    const bytes = this.bytes;
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
  }

  /** Refuses the buffer. */
  fail(at: number, detail: string, reason: DataErrorReason = "malformed"): never {
    throw new FormatError(this.section, Math.max(0, Math.min(at, this.bytes.length)), reason, detail);
  }

  /** Counts work that is proportional to `cost` bytes. */
  pay(at: number, cost: number): void {
    this.#workLeft -= cost;
    if (this.#workLeft < 0) this.fail(at, "overlapping parts: more work than the buffer's length allows");
  }
}

/** A vector of tables. */
export interface FlatVector {
  readonly count: number;
  /** Table `i`, 0..count - 1. */
  readonly table: (i: number) => FlatTable;
}

/** One table of a {@linkcode FlatReader}; fields are taken by slot number. */
export class FlatTable {
  /** The buffer. */
  readonly reader: FlatReader;
  /** Where the table begins. */
  readonly position: number;
  readonly #length: number;
  readonly #vtable: number;
  readonly #vtableLength: number;

  /** @internal made by {@linkcode FlatReader.tableAt}, which has checked the numbers */
  constructor(reader: FlatReader, position: number, length: number, vtable: number, vtableLength: number) {
    this.reader = reader;
    this.position = position;
    this.#length = length;
    this.#vtable = vtable;
    this.#vtableLength = vtableLength;
  }

  /** Refuses the buffer because of this table. */
  fail(detail: string, reason: DataErrorReason = "malformed"): never {
    this.reader.fail(this.position, detail, reason);
  }

  /** Whether a slot is stored. */
  has(slot: number): boolean {
    return this.#field(slot, 1) !== 0;
  }

  /** An unsigned byte, `absent` when it is not stored. */
  u8(slot: number, absent: number = 0): number {
    const at = this.#field(slot, 1);
    return at === 0 ? absent : this.reader.bytes[at]!;
  }

  /** A signed byte; 0 when it is not stored. */
  i8(slot: number): number {
    return (this.u8(slot) << 24) >> 24;
  }

  /** Two bytes, `absent` when they are not stored. */
  u16(slot: number, absent: number = 0): number {
    const at = this.#field(slot, 2);
    return at === 0 ? absent : this.reader.u16(at);
  }

  /** Four bytes; 0 when they are not stored. */
  u32(slot: number): number {
    const at = this.#field(slot, 4);
    return at === 0 ? 0 : this.reader.u32(at);
  }

  /** Eight bytes, 0..2 ** 53 - 1; 0 when they are not stored. Larger values are refused. */
  u64(slot: number): number {
    const at = this.#field(slot, 8);
    if (at === 0) return 0;
    const value = this.reader.u32(at + 4) * TWO_32 + this.reader.u32(at);
    if (!Number.isSafeInteger(value)) this.reader.fail(at, `number ${value} in slot ${slot} is above 2 ** 53 - 1`);
    return value;
  }

  /** A time within ±(2 ** 53 - 1) or {@linkcode NO_TICK} for the smallest number; 0 when it is not stored. */
  tick(slot: number): number {
    const at = this.#field(slot, 8);
    if (at === 0) return 0;
    const high = this.reader.u32(at + 4) | 0;
    const low = this.reader.u32(at);
    if (high === I64_MIN_HIGH && low === 0) return NO_TICK;
    const value = high * TWO_32 + low;
    if (!Number.isSafeInteger(value)) this.reader.fail(at, `time ${value} in slot ${slot} is beyond ±(2 ** 53 - 1)`);
    return value;
  }

  /** The 16 bytes, big-endian, of two u64 slots `slot` (upper half) and `slot + 1`. */
  u128(slot: number): Uint8Array {
    const bytes = new Uint8Array(16);
    for (let half = 0; half < 2; half++) {
      const at = this.#field(slot + half, 8);
      if (at === 0) continue;
      for (let i = 0; i < 8; i++) bytes[half * 8 + i] = this.reader.bytes[at + 7 - i]!;
    }
    return bytes;
  }

  /** A byte vector as a view into the buffer; undefined when it is not stored. */
  bytes(slot: number): Uint8Array | undefined {
    const at = this.#field(slot, 4);
    if (at === 0) return undefined;
    const count = this.reader.vectorLength(at, 1);
    const start = this.reader.vectorStart(at);
    return this.reader.bytes.subarray(start, start + count);
  }

  /** Like {@linkcode bytes}, copied out of the buffer. */
  copiedBytes(slot: number): Uint8Array | undefined {
    // Uint8Array's own slice: a Node Buffer's would be a view.
    const view = this.bytes(slot);
    return view === undefined ? undefined : new Uint8Array(view);
  }

  /** A UTF-8 string; undefined when it is not stored. */
  string(slot: number): string | undefined {
    const at = this.#field(slot, 4);
    return at === 0 ? undefined : this.#text(at, slot);
  }

  /** A vector of UTF-8 strings; undefined when it is not stored. */
  strings(slot: number): string[] | undefined {
    const at = this.#field(slot, 4);
    if (at === 0) return undefined;
    const count = this.reader.vectorLength(at, 4);
    const start = this.reader.vectorStart(at);
    return Array.from({ length: count }, (_, i) => this.#text(start + 4 * i, slot));
  }

  /** A table; undefined when it is not stored. */
  table(slot: number): FlatTable | undefined {
    const at = this.#field(slot, 4);
    return at === 0 ? undefined : this.reader.tableAt(at);
  }

  /** A table that must be there; `name` is for the error. */
  requiredTable(slot: number, name: string): FlatTable {
    return this.table(slot) ?? this.#missing(name);
  }

  /** A string that must be there. */
  requiredString(slot: number, name: string): string {
    return this.string(slot) ?? this.#missing(name);
  }

  /** A byte vector that must be there, as a view. */
  requiredBytes(slot: number, name: string): Uint8Array {
    return this.bytes(slot) ?? this.#missing(name);
  }

  /** What `decode` makes of each table of a vector; undefined when the vector is not stored. */
  tables<T>(slot: number, decode: (table: FlatTable, index: number) => T): T[] | undefined {
    const at = this.#field(slot, 4);
    if (at === 0) return undefined;
    const count = this.reader.vectorLength(at, 4);
    const start = this.reader.vectorStart(at);
    const values: T[] = [];
    for (let i = 0; i < count; i++) values.push(decode(this.reader.tableAt(start + 4 * i), i));
    return values;
  }

  /** A vector of tables that is read one by one; undefined when it is not stored. */
  tableVector(slot: number): FlatVector | undefined {
    const at = this.#field(slot, 4);
    if (at === 0) return undefined;
    const count = this.reader.vectorLength(at, 4);
    const start = this.reader.vectorStart(at);
    return { count, table: (i) => this.reader.tableAt(start + 4 * i) };
  }

  /** Like {@linkcode tableVector}, of a vector that must be there. */
  requiredTableVector(slot: number, name: string): FlatVector {
    return this.tableVector(slot) ?? this.#missing(name);
  }

  /** Like {@linkcode tables}, of a vector that must be there. */
  requiredTables<T>(slot: number, name: string, decode: (table: FlatTable, index: number) => T): T[] {
    return this.tables(slot, decode) ?? this.#missing(name);
  }

  /** A vector of u32; undefined when it is not stored. */
  u32s(slot: number): number[] | undefined {
    const at = this.#field(slot, 4);
    if (at === 0) return undefined;
    const count = this.reader.vectorLength(at, 4);
    const start = this.reader.vectorStart(at);
    const values: number[] = [];
    for (let i = 0; i < count; i++) values.push(this.reader.u32(start + 4 * i));
    return values;
  }

  /** The string that the offset stored at `at` leads to. */
  #text(at: number, slot: number): string {
    const count = this.reader.vectorLength(at, 1);
    const start = this.reader.vectorStart(at);
    try {
      return decoder.decode(this.reader.bytes.subarray(start, start + count));
    } catch {
      return this.fail(`string in slot ${slot} is not UTF-8`);
    }
  }

  /** Position of a field of `size` bytes inside this table; 0 when it is not stored. */
  #field(slot: number, size: number): number {
    const entry = 4 + 2 * slot;
    if (entry + 2 > this.#vtableLength) return 0;
    const offset = this.reader.u16(this.#vtable + entry);
    if (offset === 0) return 0;
    if (offset < 4 || offset + size > this.#length) {
      this.fail(`slot ${slot} at ${offset} in a table of ${this.#length} bytes`);
    }
    return this.position + offset;
  }

  #missing(name: string): never {
    return this.fail(`required field ${name} is missing`);
  }
}
