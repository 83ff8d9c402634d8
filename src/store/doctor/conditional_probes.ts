/**
 * Probes of the one promise that everything stands on: a create of an object that exists is refused.
 *
 * @module
 */
import { Effect, Exit } from "effect";
import { bytesEqual } from "../../bytes/compare.ts";
import {
  Broken,
  expect,
  expectBytes,
  passed,
  type Probe,
  type ProbeFault,
  textBytes,
  type Workbench,
} from "./workbench.ts";

/** Creates of one name that are under way at once. */
const RACERS = 32;
const ROUNDS = 6;
const ROUNDS_QUICK = 2;

const OWNERS = "two writers could both believe that they own the database, and lose what each acknowledged";

interface Tally {
  exists: number;
  /** Answers that were errors: the engine finds out what became of them. */
  odd: number;
}

/** One round: who wins, and whose bytes are stored? */
function race(bench: Workbench, round: number, tally: Tally): Effect.Effect<void, ProbeFault> {
  return Effect.gen(function* () {
    const path = bench.at(`race/${round}`);
    const bodies = Array.from({ length: RACERS }, (_, i) => textBytes(`round ${round}, racer ${i}`.padEnd(200, "-")));
    const exits = yield* Effect.forEach(
      bodies,
      (body, i) => Effect.exit(bench.single.putIfAbsent(path, body, { putId: `${round}-${i}` })),
      { concurrency: "unbounded" },
    );
    const winners: number[] = [];
    const unknown: number[] = [];
    for (const [i, exit] of exits.entries()) {
      if (Exit.isSuccess(exit)) {
        if (exit.value === "created") winners.push(i);
        else tally.exists++;
        continue;
      }
      const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail");
      if (failure === undefined) return yield* Effect.failCause(exit.cause);
      if (failure.error.reason === "unsupported") {
        return yield* Effect.fail(new Broken("the store knows no conditional writes"));
      }
      tally.odd++;
      if (failure.error.outcome === "unknown") unknown.push(i);
    }
    yield* expect(
      winners.length <= 1,
      `${winners.length} of ${RACERS} concurrent creates of one name were told that they won`,
    );
    yield* expect(winners.length + unknown.length > 0, `none of ${RACERS} concurrent creates of a new name won`);
    const stored = yield* bench.store.get(path);
    const candidates = winners.length > 0 ? winners : unknown;
    yield* expect(
      candidates.some((i) => bytesEqual(bodies[i]!, stored)),
      "the object has the bytes of a create that was told that it lost",
    );
  });
}

const raceProbe: Probe = {
  name: "create-if-absent race",
  cost: OWNERS,
  run: (bench) =>
    Effect.gen(function* () {
      const rounds = bench.settings.quick ? ROUNDS_QUICK : ROUNDS;
      const tally: Tally = { exists: 0, odd: 0 };
      for (let round = 0; round < rounds; round++) yield* race(bench, round, tally);
      const figures = { rounds, racers: RACERS, refused: tally.exists, errors: tally.odd };
      const seen = `${rounds} races of ${RACERS}: one winner each, whose bytes are stored`;
      if (tally.odd === 0) return passed(seen, figures);
      return passed(
        `${seen}; ${tally.odd} losers got an error instead of a refusal, which costs a repetition`,
        figures,
      );
    }),
};

const rejectProbe: Probe = {
  name: "reject-create",
  cost: OWNERS,
  run: (bench) =>
    Effect.gen(function* () {
      const first = textBytes("the first");
      const cases = [
        ["of the same bytes", first, "put"],
        ["of other bytes", textBytes("the second"), "put"],
        ["of no bytes", new Uint8Array(0), "put"],
        ["of the same bytes as a conditional create", first, "create"],
        ["of other bytes than a conditional create", textBytes("the third"), "create"],
      ] as const;
      for (const [i, [what, second, by]] of cases.entries()) {
        const path = bench.at(`reject/${i}`);
        yield* by === "put" ? bench.store.put(path, first) : Effect.asVoid(bench.store.putIfAbsent(path, first));
        const answer = yield* bench.store.putIfAbsent(path, second).pipe(
          Effect.catch((error) =>
            error.reason === "unsupported" ? Effect.succeed("unsupported" as const) : Effect.fail(error)
          ),
        );
        yield* expect(answer !== "unsupported", "the store knows no conditional writes");
        yield* expect(answer === "exists", `a create ${what} over an object that exists was told that it won`);
        yield* expectBytes(yield* bench.store.get(path), first, `an object after a refused create ${what}`);
      }
      return passed(`${cases.length} creates over existing objects were refused, equal bytes or not`);
    }),
};

const putIdProbe: Probe = {
  name: "put-id",
  cost: "a create whose answer was lost could be taken for another writer's, or another's for one's own",
  run: (bench) =>
    Effect.gen(function* () {
      const path = bench.at("put-id/object");
      yield* bench.store.putIfAbsent(path, textBytes("one"), { putId: "the-first-put" });
      const second = yield* Effect.exit(bench.single.putIfAbsent(path, textBytes("one"), { putId: "the-second-put" }));
      if (Exit.isSuccess(second) && second.value === "created") {
        return { verdict: "skipped", detail: "ids of creates mean nothing where creates are not refused" };
      }
      const { putId } = yield* bench.store.head(path);
      if (putId === "the-first-put") return passed("the id of a create is kept with the object");
      yield* expect(putId === undefined, `an object bears the id "${putId}", which is not the one it was created with`);
      const detail = "ids of creates are not kept: one whose answer is lost counts as lost unless its bytes are unique";
      return { verdict: bench.store.provider === undefined ? "skipped" : "warn", detail };
    }),
};

/** The probes of this file. */
export const CONDITIONAL_PROBES: ReadonlyArray<Probe> = [raceProbe, rejectProbe, putIdProbe];
