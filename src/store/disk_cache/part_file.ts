/**
 * The bytes of one file of a disk cache: a part of an object in pages, each with its checksum.
 *
 * ```text
 * page 0: 4,096 bytes of the object | checksum, u32 little-endian
 * page 1: …
 * last page: 1..4,096 bytes         | checksum
 * ```
 *
 * A reader reads the pages it needs and no others, and believes none whose checksum is wrong. The checksum is CRC-32 of
 * the bytes, xored with what only this page of this part of this object has: a page in another one's place is damage
 * too. A file may hold the beginning of its part only (whoever wrote it needed no more); one that was cut off by a crash
 * is such a beginning, or damaged. So a file is used without having been synced.
 *
 * @module
 */
import { crc32 } from "../../bytes/crc32.ts";
import type { OpenFile } from "../file/file_system.ts";
import { readFully, writeFully } from "../file/file_publisher.ts";

/** Bytes of the object in a page. */
export const PAGE_BYTES = 4096;
const SUM_BYTES = 4;
const STORED_PAGE_BYTES = PAGE_BYTES + SUM_BYTES;
/** Pages read or written between two turns of others. */
const TURN_PAGES = 64;
/** What file systems give out disk space in, bytes. */
const DISK_BLOCK_BYTES = 4096;

/** What the checksums of a part are mixed with. */
export function partSeed(objectSeed: number, part: number): number {
  let mixed = Math.imul(objectSeed ^ Math.imul(part + 1, 0x9e3779b1), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

function pageSum(seed: number, page: number, bytes: Uint8Array, start: number, end: number): number {
  return (crc32(bytes, start, end) ^ seed ^ Math.imul(page + 1, 0x27d4eb2f)) >>> 0;
}

/** Size of the file of so many bytes. */
export function storedBytes(length: number): number {
  return length + SUM_BYTES * Math.ceil(length / PAGE_BYTES);
}

/** Space that a file of this size takes on a disk. */
export function diskBytes(fileSize: number): number {
  return Math.ceil(fileSize / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES;
}

/** Writes `bytes`, the beginning of a part, into an empty file; `onStep` hears of each turn. */
export async function writePart(
  file: OpenFile,
  seed: number,
  bytes: Uint8Array,
  onStep: () => void = () => {},
): Promise<void> {
  const pages = Math.ceil(bytes.length / PAGE_BYTES);
  for (let first = 0; first < pages; first += TURN_PAGES) {
    const turn = bytes.subarray(first * PAGE_BYTES, (first + TURN_PAGES) * PAGE_BYTES);
    await writeFully(file, encodePages(turn, seed, first), first * STORED_PAGE_BYTES);
    onStep();
  }
}

/** The stored form of pages from page `first` on. */
function encodePages(bytes: Uint8Array, seed: number, first: number): Uint8Array {
  const stored = new Uint8Array(storedBytes(bytes.length));
  const view = new DataView(stored.buffer);
  let at = 0;
  for (let start = 0, page = first; start < bytes.length; start += PAGE_BYTES, page++) {
    const end = Math.min(start + PAGE_BYTES, bytes.length);
    stored.set(bytes.subarray(start, end), at);
    at += end - start;
    view.setUint32(at, pageSum(seed, page, bytes, start, end), true);
    at += SUM_BYTES;
  }
  return stored;
}

/**
 * Bytes `from..to` of a part; "short" when the file holds fewer, "damaged" when it cannot be believed. Allocates for
 * what was asked for only, whatever the file's size.
 */
export async function readPart(
  file: OpenFile,
  seed: number,
  from: number,
  to: number,
): Promise<Uint8Array | "short" | "damaged"> {
  const into = new Uint8Array(to - from);
  const end = Math.ceil(to / PAGE_BYTES);
  for (let first = Math.floor(from / PAGE_BYTES); first < end; first += TURN_PAGES) {
    const wanted = Math.min(TURN_PAGES, end - first) * STORED_PAGE_BYTES;
    const stored = await readFully(file, first * STORED_PAGE_BYTES, wanted);
    const found = decodePages(stored, seed, first, from, Math.min(to, (first + TURN_PAGES) * PAGE_BYTES), into);
    if (found !== "whole") return found;
  }
  return into;
}

/** Checks stored pages from page `first` on and copies what of `from..to` is in them to its place in `into`. */
function decodePages(
  stored: Uint8Array,
  seed: number,
  first: number,
  from: number,
  to: number,
  into: Uint8Array,
): "whole" | "short" | "damaged" {
  const view = new DataView(stored.buffer, stored.byteOffset, stored.length);
  let page = first;
  let reached = first * PAGE_BYTES;
  for (let at = 0; at < stored.length; at += STORED_PAGE_BYTES, page++) {
    const end = Math.min(at + STORED_PAGE_BYTES, stored.length) - SUM_BYTES;
    if (end <= at || view.getUint32(end, true) !== pageSum(seed, page, stored, at, end)) return "damaged";
    const start = page * PAGE_BYTES;
    reached = start + end - at;
    const low = Math.max(from, start);
    const high = Math.min(to, reached);
    if (high > low) into.set(stored.subarray(at + low - start, at + high - start), low - from);
  }
  return reached >= to ? "whole" : "short";
}
