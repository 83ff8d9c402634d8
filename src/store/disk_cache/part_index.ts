/**
 * What a process knows of the files in a cache folder: their sizes, and when each was used last.
 *
 * The index accounts; it does not decide what is there. A file that it does not know may exist (another process has
 * written it), one that it knows may be gone. Bounded: beyond {@linkcode PARTS_MAX} files something is evicted first.
 *
 * Which file goes: of two taken by chance the one that was used longer ago. That is close to the oldest of all, without
 * any order to keep. Files that were found on the disk count as older than all that this process has used.
 *
 * @module
 */

/** Most files of a folder. */
export const PARTS_MAX: number = 1 << 18;

/** Far before every use by this process; a file's time on disk, ms since 1970, is added. */
const BEFORE_ALL_USES = -1e15;

/** A file as the index knows it; another one when it was forgotten and entered again. */
export interface PartEntry {
  readonly name: string;
}

interface Entry extends PartEntry {
  bytes: number;
  /** Greater is later. */
  used: number;
  /** The last scan that has seen it. */
  scan: number;
  /** Its place in the list. */
  at: number;
}

/** Files by name. */
export class PartIndex {
  readonly #byName: Map<string, Entry> = new Map();
  readonly #list: Entry[] = [];
  #bytes = 0;
  #uses = 0;
  #scan = 0;
  #random = 0x2545f491;

  /** Number of files. */
  get count(): number {
    return this.#list.length;
  }

  /** Disk space of all files. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Makes the choices of `victim` differ from those of others. */
  seed(random: number): void {
    this.#random = (random | 0) || 1;
  }

  /** What is known of a file. */
  find(name: string): PartEntry | undefined {
    return this.#byName.get(name);
  }

  /** Notes that a file was used; false when it is not known. */
  touch(name: string): boolean {
    const entry = this.#byName.get(name);
    if (entry === undefined) return false;
    entry.used = ++this.#uses;
    return true;
  }

  /** Enters a file that was written or used now, or `foundMillis` tells the age of one that was found. */
  put(name: string, bytes: number, foundMillis?: number): void {
    let entry = this.#byName.get(name);
    if (entry === undefined) {
      entry = { name, bytes: 0, used: 0, scan: 0, at: this.#list.length };
      this.#byName.set(name, entry);
      this.#list.push(entry);
    }
    this.#bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    entry.scan = this.#scan;
    entry.used = foundMillis === undefined ? ++this.#uses : BEFORE_ALL_USES + foundMillis;
  }

  /** Forgets a file; answers its size, 0 when it was not known. */
  remove(name: string): number {
    const entry = this.#byName.get(name);
    if (entry === undefined) return 0;
    this.#byName.delete(name);
    const last = this.#list.pop()!;
    if (last !== entry) {
      this.#list[entry.at] = last;
      last.at = entry.at;
    }
    this.#bytes -= entry.bytes;
    return entry.bytes;
  }

  /** Name of the file to evict; undefined when there is none. */
  victim(): string | undefined {
    const { length } = this.#list;
    if (length === 0) return undefined;
    const one = this.#list[this.#draw() % length]!;
    const other = this.#list[this.#draw() % length]!;
    return one.used <= other.used ? one.name : other.name;
  }

  /** Begins a scan. */
  beginScan(): void {
    this.#scan++;
  }

  /** The scan has seen a file; false when it is not known. */
  seen(name: string): boolean {
    const entry = this.#byName.get(name);
    if (entry === undefined) return false;
    entry.scan = this.#scan;
    return true;
  }

  /** Ends a scan that has seen everything: what it has not seen, and nobody has written since, is gone. */
  endScan(): void {
    for (let at = this.#list.length - 1; at >= 0; at--) {
      const entry = this.#list[at]!;
      if (entry.scan !== this.#scan) this.remove(entry.name);
    }
  }

  #draw(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return x >>> 0;
  }
}
