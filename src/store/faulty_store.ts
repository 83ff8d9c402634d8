/**
 * A store with faults: scripted, by chance from a seed, an outage, slowness, a crash at a chosen request.
 *
 * The store that it wraps stays sound, so what a crashed engine left is read through that one. Every request is logged
 * with what became of it. Requests are decided in this order: crash, outage, rules, latency, effect, loss of the
 * answer.
 *
 * ```ts ignore
 * const store = faultyStore(memoryStore(), {
 *   rules: [{ op: "putIfAbsent", prefix: "manifest/", nth: 3, fault: { kind: "after" } }],
 * });
 * store.controls.setOutage(true);
 * ```
 *
 * @module
 */
import { Effect, Layer } from "effect";
import { StoreError, type StoreErrorReason, type StoreOp } from "../errors.ts";
import {
  ArmedRule,
  type CrashPoint,
  type Fault,
  FaultDice,
  type FaultPlan,
  type FaultRule,
  type FaultyOp,
} from "./faulty/fault_plan.ts";
import { type ListPage, ObjectStore, type ObjectStoreShape, type Upload } from "./object_store.ts";

export type { CrashPoint, Fault, FaultPlan, FaultRule, FaultyOp };

/** One request and what became of it. */
export interface LoggedRequest {
  /** Number of the request, from 0. */
  readonly index: number;
  /** What was asked. */
  readonly op: FaultyOp;
  /** Of which object, or folder of a listing. */
  readonly path: string;
  /** "waiting", "ok", "created", "exists", the reason of an error, "no answer", or "interrupted". */
  readonly outcome: string;
  /** The kind of fault that struck, if one did. */
  readonly fault?: Fault["kind"] | "outage" | "crash";
}

/** Looks into a faulty store and changes what it does. */
export interface FaultControls {
  /** Requests so far, answered or not. */
  readonly requestCount: number;
  /** All requests so far, in order. */
  readonly log: ReadonlyArray<LoggedRequest>;
  /** Whether the crash point has been reached. */
  readonly crashed: boolean;
  /** Sets or takes away the crash point. */
  crashAt: CrashPoint | undefined;
  /** Crashes now: requests under way never answer, later ones are not executed. */
  crash(): void;
  /** Lets requests be executed again after a crash; those that never answered stay so. */
  revive(): void;
  /** While on, every request fails without effect ("unavailable", or the reason given). */
  setOutage(on: boolean, reason?: StoreErrorReason): void;
  /** Sets the pause of every request, as in the plan. */
  setLatency(millis: FaultPlan["latencyMillis"]): void;
  /** Adds rules; they count from now on. */
  addRules(...rules: ReadonlyArray<FaultRule>): void;
  /** Takes away all rules and the outage, and the latency: from now on the store is sound. */
  quiet(): void;
  /** How often faults of each kind have struck. */
  struck(): Readonly<Record<string, number>>;
  /** Number of abandoned requests that may still arrive. */
  readonly lateCount: number;
  /** Executes the abandoned requests, oldest first; answers how many. */
  readonly deliverLate: Effect.Effect<number>;
}

/** A store with faults. */
export interface FaultyStore extends ObjectStoreShape {
  /** Its log, and the switches of its faults. */
  readonly controls: FaultControls;
}

/** Wraps `inner` in the faults of `plan`. */
export function faultyStore(inner: ObjectStoreShape, plan: FaultPlan = {}): FaultyStore {
  const faults = new FaultInjector(plan);
  const { deleteMany } = inner;
  return {
    provider: inner.provider,
    controls: faults,
    get: (path) => faults.request("get", path, inner.get(path), (body, fault) => faults.damage(body, fault)),
    getRange: (path, range, hint) =>
      faults.request("getRange", path, inner.getRange(path, range, hint), (part, fault) => faults.damage(part, fault)),
    getRanges: (path, ranges) =>
      faults.request(
        "getRanges",
        path,
        inner.getRanges(path, ranges),
        (parts, fault) => parts.map((part, i) => i === 0 ? faults.damage(part, fault) : part),
      ),
    head: (path) => faults.request("head", path, inner.head(path)),
    put: (path, body) => faults.request("put", path, faults.created(path, inner.put(path, body))),
    putIfAbsent: (path, body, identity) =>
      faults.request("putIfAbsent", path, faults.created(path, inner.putIfAbsent(path, body, identity))),
    list: (prefix, startAfter) =>
      faults.request("list", prefix, inner.list(prefix, startAfter), (page, fault) => faults.hide(page, fault)),
    delete: (path) => faults.request("delete", path, inner.delete(path)),
    deleteMany: deleteMany && ((paths) => faults.request("deleteMany", paths[0] ?? "", deleteMany(paths))),
    copy: (source, target) => faults.request("copy", target, faults.created(target, inner.copy(source, target))),
    upload: (path) =>
      Effect.map(faults.request("upload", path, inner.upload(path)), (upload) => faultyUpload(faults, path, upload)),
  };
}

/** {@linkcode faultyStore} as a layer over the store service. The controls are given to `onStore`. */
export function faultyLayer(
  plan: FaultPlan,
  onStore: (controls: FaultControls) => void = () => {},
): Layer.Layer<ObjectStore, never, ObjectStore> {
  return Layer.effect(
    ObjectStore,
    Effect.map(ObjectStore, (inner) => {
      const store = faultyStore(inner, plan);
      onStore(store.controls);
      return store;
    }),
  );
}

function faultyUpload(faults: FaultInjector, path: string, upload: Upload): Upload {
  return {
    write: (bytes) => faults.request("uploadWrite", path, upload.write(bytes)),
    complete: faults.request("uploadComplete", path, faults.created(path, upload.complete)),
    // Abort cannot fail; it can only be lost.
    abort: Effect.ignore(faults.request("uploadAbort", path, upload.abort)),
  };
}

/** Reasons that are answers; all others are trouble that may pass. */
const ANSWERS: ReadonlySet<StoreErrorReason> = new Set(["not-found", "permission", "invalid-path", "unsupported"]);

interface Entry {
  readonly index: number;
  readonly op: FaultyOp;
  readonly path: string;
  outcome: string;
  fault?: Fault["kind"] | "outage" | "crash";
}

class FaultInjector implements FaultControls {
  readonly log: Array<Entry> = [];
  crashAt: CrashPoint | undefined;
  crashed = false;
  readonly deliverLate: Effect.Effect<number> = Effect.suspend(() => {
    const late = this.#late.splice(0);
    return Effect.as(Effect.forEach(late, (request) => Effect.exit(request), { discard: true }), late.length);
  });
  #rules: Array<ArmedRule> = [];
  #rulesMade = 0;
  readonly #seed: number;
  readonly #dice: FaultDice;
  #outage: StoreErrorReason | undefined = undefined;
  #latency: FaultPlan["latencyMillis"];
  /** Counts crashes: a request of an earlier life never answers, even after `revive`. */
  #life = 0;
  #late: Array<Effect.Effect<unknown, StoreError>> = [];
  #createdLast: Array<string> = [];
  #struck: Map<string, number> = new Map();

  constructor(plan: FaultPlan) {
    this.#seed = plan.seed ?? 0;
    this.#dice = new FaultDice(this.#seed ^ 0x5bd1e995);
    this.#latency = plan.latencyMillis;
    this.crashAt = plan.crashAt;
    this.addRules(...(plan.rules ?? []));
  }

  get requestCount(): number {
    return this.log.length;
  }

  get lateCount(): number {
    return this.#late.length;
  }

  crash(): void {
    this.crashed = true;
    this.#life++;
    for (const entry of this.log) if (entry.outcome === "waiting") this.#lose(entry);
  }

  revive(): void {
    this.crashed = false;
  }

  setOutage(on: boolean, reason: StoreErrorReason = "unavailable"): void {
    this.#outage = on ? reason : undefined;
  }

  setLatency(millis: FaultPlan["latencyMillis"]): void {
    this.#latency = millis;
  }

  addRules(...rules: ReadonlyArray<FaultRule>): void {
    for (const rule of rules) {
      this.#rules.push(new ArmedRule(rule, Math.imul(this.#seed + 1, 0x27d4eb2f) + this.#rulesMade++ * 0x165667b1));
    }
  }

  quiet(): void {
    this.#rules = [];
    this.#outage = undefined;
    this.#latency = undefined;
  }

  struck(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#struck);
  }

  /** Remembers what is created, for stale listings. */
  created<A>(path: string, effect: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.tap(effect, (answer) =>
      Effect.sync(() => {
        if (answer === "exists") return;
        this.#createdLast = this.#createdLast.filter((name) => name !== path).slice(-99);
        this.#createdLast.push(path);
      }));
  }

  /** The bytes as a damaged read gives them out. */
  damage(body: Uint8Array, fault: Fault): Uint8Array {
    if (fault.kind === "short") return body.subarray(0, Math.max(0, body.length - (fault.bytes ?? 1)));
    if (fault.kind !== "corrupt" || body.length === 0) return body;
    const damaged = new Uint8Array(body);
    const at = Math.min(fault.offset ?? Math.floor(this.#dice.next() * body.length), body.length - 1);
    damaged[at] = damaged[at]! ^ (1 + Math.floor(this.#dice.next() * 255));
    return damaged;
  }

  /** The page as a stale listing gives it out. */
  hide(page: ListPage, fault: Fault): ListPage {
    if (fault.kind !== "stale") return page;
    const hidden = new Set(this.#createdLast.slice(-(fault.hide ?? 1)));
    return { objects: page.objects.filter((object) => !hidden.has(object.path)), truncated: page.truncated };
  }

  /** Executes one request, or what the plan makes of it. */
  request<A>(
    op: FaultyOp,
    path: string,
    effect: Effect.Effect<A, StoreError>,
    spoil: (value: A, fault: Fault) => A = (value) => value,
  ): Effect.Effect<A, StoreError> {
    return Effect.suspend(() => {
      const entry: Entry = { index: this.log.length, op, path, outcome: "waiting" };
      this.log.push(entry);
      const life = this.#life;
      const crashes = this.crashAt?.index === entry.index ? this.crashAt.when : undefined;
      if (crashes === "before") this.crash();
      if (this.crashed) return this.#noAnswer(entry, "crash");
      const fault = this.#faultOf(entry);
      const execute = this.#execute(entry, fault, effect, spoil).pipe(
        Effect.tap(() => crashes === "after" ? Effect.sync(() => this.crash()) : Effect.void),
        Effect.onError(() => crashes === "after" ? Effect.sync(() => this.crash()) : Effect.void),
      );
      const delayed = this.#pause(fault, () => this.#life === life ? execute : this.#noAnswer<A>(entry, "crash"));
      return Effect.matchCauseEffect(delayed, {
        onSuccess: (value) => this.#life === life ? this.#answer(entry, value) : this.#noAnswer<A>(entry, "crash"),
        onFailure: (cause) => {
          if (this.#life !== life) return this.#noAnswer<A>(entry, "crash");
          const failed = cause.reasons.find((reason) => reason._tag === "Fail");
          entry.outcome = failed === undefined ? "defect" : failed.error.reason;
          return Effect.failCause(cause);
        },
      }).pipe(Effect.onInterrupt(() =>
        Effect.sync(() => {
          if (entry.outcome === "waiting") entry.outcome = "interrupted";
        })
      ));
    });
  }

  #execute<A>(
    entry: Entry,
    fault: Fault | "outage" | undefined,
    effect: Effect.Effect<A, StoreError>,
    spoil: (value: A, fault: Fault) => A,
  ): Effect.Effect<A, StoreError> {
    if (fault === undefined) return effect;
    if (fault === "outage") return Effect.fail(this.#error(entry, { reason: this.#outage ?? "unavailable" }));
    switch (fault.kind) {
      case "before":
        return Effect.fail(this.#error(entry, fault));
      case "after": {
        const lost = Effect.suspend(() =>
          Effect.fail(this.#error(entry, { reason: "timeout", ...fault, outcome: "unknown" }))
        );
        return Effect.andThen(Effect.exit(effect), lost);
      }
      case "late":
        this.#late.push(effect);
        return Effect.fail(this.#error(entry, { reason: fault.reason ?? "timeout", outcome: "unknown" }));
      case "hang": {
        const hanging = this.#noAnswer<A>(entry, "hang");
        return fault.when === "before" ? hanging : Effect.andThen(Effect.exit(effect), hanging);
      }
      case "delay":
        return effect;
      default:
        return Effect.map(effect, (value) => spoil(value, fault));
    }
  }

  #pause<A>(
    fault: Fault | "outage" | undefined,
    next: () => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> {
    const latency = this.#latency ?? 0;
    let millis = typeof latency === "number" ? latency : latency[0] + this.#dice.next() * (latency[1] - latency[0]);
    if (typeof fault === "object" && fault.kind === "delay") millis += fault.millis;
    return millis > 0 ? Effect.andThen(Effect.sleep(millis), Effect.suspend(next)) : next();
  }

  #faultOf(entry: Entry): Fault | "outage" | undefined {
    let struck: Fault | undefined;
    for (const rule of this.#rules) {
      const fault = rule.judge(entry.op, entry.path, struck !== undefined || this.#outage !== undefined);
      struck ??= fault;
    }
    const fault = this.#outage === undefined ? struck : "outage";
    if (fault === undefined) return undefined;
    entry.fault = fault === "outage" ? fault : fault.kind;
    this.#struck.set(entry.fault, (this.#struck.get(entry.fault) ?? 0) + 1);
    return fault;
  }

  #error(
    entry: Entry,
    fault: {
      readonly reason?: StoreErrorReason;
      readonly retryable?: boolean;
      readonly outcome?: "none" | "unknown";
    },
  ): StoreError {
    const reason = fault.reason ?? "unavailable";
    const retryable = fault.retryable ?? !ANSWERS.has(reason);
    const op = entry.op.startsWith("upload") ? "upload" : entry.op as StoreOp;
    const cause = `injected into request ${entry.index}`;
    return new StoreError({ op, path: entry.path, reason, retryable, outcome: fault.outcome ?? "none", cause });
  }

  #answer<A>(entry: Entry, value: A): Effect.Effect<A> {
    entry.outcome = value === "created" || value === "exists" ? String(value) : "ok";
    return Effect.succeed(value);
  }

  #noAnswer<A>(entry: Entry, fault: "crash" | "hang"): Effect.Effect<A> {
    return Effect.suspend(() => {
      entry.fault = fault;
      entry.outcome = "no answer";
      return Effect.never;
    });
  }

  #lose(entry: Entry): void {
    entry.fault = "crash";
    entry.outcome = "no answer";
  }
}
