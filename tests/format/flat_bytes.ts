/**
 * A second, independent way to make FlatBuffers: describes tables as data, also wrong ones.
 *
 * @module
 */

/** What a slot holds. */
export type FlatValue =
  | { readonly kind: "number"; readonly size: 1 | 2 | 4 | 8; readonly value: bigint }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "u32s"; readonly values: readonly number[] }
  | { readonly kind: "table"; readonly table: FlatFields }
  | { readonly kind: "tables"; readonly tables: readonly FlatFields[] };

/** A table by slot number. */
export type FlatFields = Readonly<Record<number, FlatValue>>;

/** A one-byte field. */
export function byte(value: number): FlatValue {
  return { kind: "number", size: 1, value: BigInt(value) };
}
/** A two-byte field. */
export function short(value: number): FlatValue {
  return { kind: "number", size: 2, value: BigInt(value) };
}
/** A four-byte field. */
export function int(value: number): FlatValue {
  return { kind: "number", size: 4, value: BigInt(value) };
}
/** An eight-byte field. */
export function long(value: bigint | number): FlatValue {
  return { kind: "number", size: 8, value: BigInt(value) };
}
/** A byte vector or string. */
export function bytes(value: Uint8Array | string): FlatValue {
  return { kind: "bytes", bytes: typeof value === "string" ? new TextEncoder().encode(value) : value };
}
/** A vector of u32. */
export function u32s(...values: number[]): FlatValue {
  return { kind: "u32s", values };
}
/** A table. */
export function table(fields: FlatFields): FlatValue {
  return { kind: "table", table: fields };
}
/** A vector of tables. */
export function tables(...fields: FlatFields[]): FlatValue {
  return { kind: "tables", tables: fields };
}
/** The two halves of an identity. */
export function identity(high: bigint, low: bigint): FlatFields {
  return { 0: long(high), 1: long(low) };
}

/** The bytes of a buffer with that root table, after `header`. */
export function flatBytes(root: FlatFields, header: readonly number[] = []): Uint8Array {
  const out: number[] = [0, 0, 0, 0];
  patch(out, 0, writeTable(out, root));
  return Uint8Array.of(...header, ...out);
}

function writeTable(out: number[], fields: FlatFields): number {
  const slots = Object.keys(fields).map(Number).sort((a, b) => a - b);
  const highest = slots.at(-1) ?? -1;
  const vtable = out.length;
  const offsets = new Array<number>(highest + 1).fill(0);
  let length = 4;
  for (const slot of slots) {
    const value = fields[slot]!;
    offsets[slot] = length;
    length += value.kind === "number" ? value.size : 4;
  }
  for (const number of [4 + 2 * offsets.length, length, ...offsets]) little(out, BigInt(number), 2);
  const position = out.length;
  little(out, BigInt(position - vtable), 4);
  for (const slot of slots) {
    const value = fields[slot]!;
    if (value.kind === "number") little(out, value.value, value.size);
    else little(out, 0n, 4);
  }
  for (const slot of slots) {
    const value = fields[slot]!;
    if (value.kind === "number") continue;
    const at = position + offsets[slot]!;
    patch(out, at, writeChild(out, value) - at);
  }
  return position;
}

function writeChild(out: number[], value: Exclude<FlatValue, { kind: "number" }>): number {
  if (value.kind === "table") return writeTable(out, value.table);
  const position = out.length;
  if (value.kind === "bytes") {
    little(out, BigInt(value.bytes.length), 4);
    for (const element of value.bytes) out.push(element);
    return position;
  }
  if (value.kind === "u32s") {
    little(out, BigInt(value.values.length), 4);
    for (const element of value.values) little(out, BigInt(element), 4);
    return position;
  }
  little(out, BigInt(value.tables.length), 4);
  for (let i = 0; i < value.tables.length; i++) little(out, 0n, 4);
  value.tables.forEach((fields, i) => {
    const at = position + 4 + 4 * i;
    patch(out, at, writeTable(out, fields) - at);
  });
  return position;
}

function little(out: number[], value: bigint, size: number): void {
  for (let i = 0; i < size; i++) out.push(Number((value >> BigInt(8 * i)) & 0xffn));
}

function patch(out: number[], at: number, value: number): void {
  for (let i = 0; i < 4; i++) out[at + i] = (value >>> (8 * i)) & 0xff;
}
