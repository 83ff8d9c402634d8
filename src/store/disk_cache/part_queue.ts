/**
 * Parts on their way to the disk: a bounded queue whose parts can be read while they wait.
 *
 * Invariant: what was taken in is found under its name until it is written or dropped, so that a part that was just
 * fetched is never fetched again because the disk is slow.
 *
 * @module
 */
import type { Moment } from "./moment.ts";
import { type CachedObject, partName } from "./part_name.ts";
import type { Seat } from "./part_folder.ts";

/** Writes that may wait. */
const QUEUE_MAX = 100;
/** Bytes that may wait; one write may be larger. */
const QUEUE_BYTES_MAX: number = 128 * 1024 * 1024;

/** Bytes of an object from the beginning of a part on, to be kept. */
export interface PartWrite {
  readonly seat: Seat;
  readonly object: CachedObject;
  readonly firstPart: number;
  readonly partBytes: number;
  /** Not changed by anybody from now on. */
  readonly bytes: Uint8Array;
  readonly moment: Moment;
  /** Called when it was written or dropped. */
  readonly done: () => void;
}

/** The write under way. */
interface Current {
  readonly write: PartWrite;
  dropped: boolean;
  readonly ended: Promise<void>;
  readonly end: () => void;
}

/** Writes in their order, one of them under way. */
export class PartQueue {
  #waiting: PartWrite[] = [];
  #bytes = 0;
  #current: Current | undefined = undefined;
  readonly #parts: Map<string, Uint8Array> = new Map();

  /** Bytes that wait or are being written. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Ends when the write under way has ended. */
  get currentEnded(): Promise<void> | undefined {
    return this.#current?.ended;
  }

  /** Whether a write that was begun is still under way, and wanted. */
  isWanted(write: PartWrite): boolean {
    return this.#current?.write === write && !this.#current.dropped;
  }

  /** Takes a write in; false when it is full. */
  push(write: PartWrite): boolean {
    const isIdle = this.#waiting.length === 0 && this.#current === undefined;
    if (this.#waiting.length >= QUEUE_MAX || (!isIdle && this.#bytes + write.bytes.length > QUEUE_BYTES_MAX)) {
      return false;
    }
    this.#waiting.push(write);
    this.#bytes += write.bytes.length;
    eachPart(write, (name, bytes) => void this.#parts.set(name, bytes));
    return true;
  }

  /** The beginning of a part that waits or is being written. */
  find(name: string): Uint8Array | undefined {
    return this.#parts.get(name);
  }

  /** Begins the next write. */
  begin(): PartWrite | undefined {
    const write = this.#waiting.shift();
    if (write === undefined) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#current = { write, dropped: false, ended: promise, end: resolve };
    return write;
  }

  /** The write under way has ended. */
  end(): void {
    const { write, end } = this.#current!;
    this.#current = undefined;
    this.#leave(write);
    end();
  }

  /** Drops what waits and is chosen; what of that is under way is found no more, and stops after its present part. */
  drop(isChosen: (write: PartWrite) => boolean): void {
    this.dropWaiting(isChosen);
    if (this.#current === undefined || !isChosen(this.#current.write)) return;
    this.#current.dropped = true;
    this.#hide(this.#current.write);
  }

  /** Drops what waits and is chosen. */
  dropWaiting(isChosen: (write: PartWrite) => boolean): void {
    const left: PartWrite[] = [];
    for (const write of this.#waiting) {
      if (isChosen(write)) this.#leave(write);
      else left.push(write);
    }
    this.#waiting = left;
  }

  #leave(write: PartWrite): void {
    this.#bytes -= write.bytes.length;
    this.#hide(write);
    write.done();
  }

  #hide(write: PartWrite): void {
    eachPart(write, (name, bytes) => {
      if (this.#parts.get(name)?.buffer === bytes.buffer) this.#parts.delete(name);
    });
  }
}

function eachPart(write: PartWrite, visit: (name: string, bytes: Uint8Array) => void): void {
  const { object, firstPart, partBytes, bytes } = write;
  for (let part = firstPart, at = 0; at < bytes.length; part++, at += partBytes) {
    visit(partName(object, part), bytes.subarray(at, at + partBytes));
  }
}
