/**
 * One range read as the parts it lies in, and the fetches of parts that several reads share.
 *
 * @module
 */
import { OneShot } from "../../env/one_shot.ts";
import type { StoreError } from "../../errors.ts";
import type { ByteRange } from "../object_store.ts";
import { type CachedObject, partName } from "./part_name.ts";

/** A read of a range, to be put together from parts. */
export class RangeRead {
  readonly path: string;
  readonly object: CachedObject;
  readonly range: ByteRange;
  readonly firstPart: number;
  readonly lastPart: number;
  readonly #partBytes: number;
  /** What is there of each part. */
  readonly #pieces: Array<Uint8Array | undefined>;
  /** Whether nobody else has the piece of a read of one part. */
  #isOwn = false;

  constructor(path: string, object: CachedObject, range: ByteRange, partBytes: number) {
    this.path = path;
    this.object = object;
    this.range = range;
    this.#partBytes = partBytes;
    this.firstPart = Math.floor(range.offset / partBytes);
    this.lastPart = Math.floor((range.offset + range.length - 1) / partBytes);
    this.#pieces = new Array<Uint8Array | undefined>(this.lastPart - this.firstPart + 1).fill(undefined);
  }

  /** Where the range ends in the object. */
  get end(): number {
    return this.range.offset + this.range.length;
  }

  /** First byte that is needed of a part, from the part's beginning. */
  from(part: number): number {
    return Math.max(0, this.range.offset - part * this.#partBytes);
  }

  /** End of what is needed of a part. */
  to(part: number): number {
    return Math.min(this.#partBytes, this.end - part * this.#partBytes);
  }

  /** Parts that are not there yet, ascending. */
  missing(): number[] {
    const missing: number[] = [];
    for (let at = 0; at < this.#pieces.length; at++) {
      if (this.#pieces[at] === undefined) missing.push(this.firstPart + at);
    }
    return missing;
  }

  /** Takes exactly what is needed of a part, in memory that is nobody else's. */
  supplyOwn(part: number, piece: Uint8Array): void {
    this.#pieces[part - this.firstPart] = piece;
    this.#isOwn = true;
  }

  /** Takes what is needed from the beginning of a part; false when it is too short. */
  supplyFrom(part: number, beginning: Uint8Array): boolean {
    const to = this.to(part);
    if (beginning.length < to) return false;
    this.#pieces[part - this.firstPart] = beginning.subarray(this.from(part), to);
    this.#isOwn = false;
    return true;
  }

  /** The bytes, when nothing is missing: memory that nobody else has. */
  answer(): Uint8Array {
    if (this.#pieces.length === 1) return this.#isOwn ? this.#pieces[0]! : new Uint8Array(this.#pieces[0]!);
    const bytes = new Uint8Array(this.range.length);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece!, at);
      at += piece!.length;
    }
    return bytes;
  }
}

/** A fetch of one part that is under way. */
export interface PartFlight {
  readonly key: string;
  readonly part: number;
  /** How much of the part will come, bytes. */
  readonly reach: number;
  readonly done: OneShot<StoreError>;
  /** Whether nobody waits for it who has a deadline. */
  readonly isBackground: boolean;
  /** Why whoever fetched it gave up, where another may ask again. */
  error: StoreError | undefined;
  /** The beginning of the part; undefined where whoever fetched it gave up. */
  bytes: Uint8Array | undefined;
}

/** What one read fetches itself, and what others are fetching. */
export interface FlightPlan {
  readonly own: PartFlight[];
  readonly joined: PartFlight[];
}

/** All fetches of one cache. */
export class PartFlights {
  readonly #flights: Map<string, PartFlight> = new Map();

  /**
   * Enters the fetches of what `read` misses, as far as nobody makes them; `reachOf` says how much a part will bring.
   * What is fetched in the background may come late: others fetch it themselves.
   */
  plan(read: RangeRead, reachOf: (part: number) => number, isBackground: boolean): FlightPlan {
    const plan: FlightPlan = { own: [], joined: [] };
    for (const part of read.missing()) {
      const key = partName(read.object, part);
      const found = this.#flights.get(key);
      if (found !== undefined && found.reach >= read.to(part) && (isBackground || !found.isBackground)) {
        plan.joined.push(found);
        continue;
      }
      const flight: PartFlight = {
        key,
        part,
        reach: reachOf(part),
        done: new OneShot(),
        isBackground,
        error: undefined,
        bytes: undefined,
      };
      this.#flights.set(key, flight);
      plan.own.push(flight);
    }
    return plan;
  }

  /** Ends fetches; who waits for one that brought nothing goes on by itself. */
  end(flights: ReadonlyArray<PartFlight>): void {
    for (const flight of flights) {
      if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
      flight.done.succeed();
    }
  }
}

/** Neighbouring parts together. */
export function runsOf(flights: ReadonlyArray<PartFlight>): PartFlight[][] {
  const runs: PartFlight[][] = [];
  for (const flight of flights) {
    const run = runs.at(-1);
    if (run !== undefined && run.at(-1)!.part + 1 === flight.part) run.push(flight);
    else runs.push([flight]);
  }
  return runs;
}
