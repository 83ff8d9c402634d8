/**
 * `exec`: op-script steps from standard input, one JSON object per line, each answered with one line before the next
 * one is read.
 *
 * @module
 */
import { Effect } from "effect";
import type { TtlMode } from "../db/api.ts";
import { type VirtualClock, virtualClock } from "../env/virtual_clock.ts";
import { InvalidArgument } from "../errors.ts";
import { type Command, type CommandContext, JSON_FLAG, LOCATION_FLAGS, LOCATION_POSITION } from "./command.ts";
import { type Answer, errorAnswer } from "./exec/answers.ts";
import { Session } from "./exec/session.ts";
import { parseSettings, parseStep } from "./exec/step_check.ts";
import { LINE_BYTES_MAX, stepLines, TOO_LONG } from "./exec/step_lines.ts";
import type { ScriptSettings, Step } from "./exec/step_values.ts";
import { mergeOperatorNamed } from "./merge_operators.ts";
import { placeOf } from "./places.ts";
import { watchingStore } from "./store_watch.ts";
import { CommandFailure, UsageError } from "./usage_error.ts";

/** Real time after which a step on a virtual clock is asked whether it waits for that clock, ms. */
const STUCK_MILLIS = 2000;
const MERGE_OPERATORS: readonly string[] = ["concat", "u64add", "prefixRouted"];

async function runExec(context: CommandContext): Promise<number> {
  const { args, io, out } = context;
  const settings = settingsOf(args.text("settings"));
  const [operator, short] = [args.text("merge-operator"), args.text("merge")];
  if (operator !== undefined && short !== undefined) {
    throw new UsageError("--merge is --merge-operator; give one of them");
  }
  const place = await placeOf(context);
  const clock = args.on("virtual-clock") ? virtualClock(0) : undefined;
  const session = new Session({
    ...place,
    clock,
    settings,
    mergeOperator: mergeOperatorNamed(operator ?? short),
    ttl: args.text("ttl") as TtlMode | undefined,
  });
  const stop = stopSignal(context);
  const lines = stepLines(stop.until(io.stdin), stop.isAsked);
  try {
    for await (const line of lines) {
      await out.json(await answered(context, session, clock, line));
      await out.flush();
    }
  } catch (error) {
    // The first failure counts.
    await ended(context, session, clock).catch(() => {});
    throw error;
  } finally {
    stop.forget();
  }
  await ended(context, session, clock);
  if (!stop.isAsked()) return 0;
  throw new CommandFailure("interrupted", "Stopped before the end of the input; what was answered is done");
}

/** Closes the handles, within what the store is given. */
function ended(context: CommandContext, session: Session, clock: VirtualClock | undefined): Promise<void> {
  return bounded(context, session, clock, () => session.end());
}

function settingsOf(json: string | undefined): ScriptSettings {
  if (json === undefined) return {};
  try {
    return parseSettings(json);
  } catch (error) {
    throw new UsageError(`--${(error as Error).message}`);
  }
}

/** The answer to a line, whatever it holds. */
async function answered(
  context: CommandContext,
  session: Session,
  clock: VirtualClock | undefined,
  line: Uint8Array | typeof TOO_LONG,
): Promise<Answer> {
  try {
    if (line === TOO_LONG) {
      throw new InvalidArgument({ reason: "step", message: `The line is longer than ${LINE_BYTES_MAX} bytes` });
    }
    const step: Step = parseStep(line);
    return { ok: await bounded(context, session, clock, () => session.run(step)) };
  } catch (error) {
    return errorAnswer(error);
  }
}

/** Runs `work`, and gives up waiting for it when it needs a store that takes nothing, or a clock that nobody moves. */
function bounded<A>(
  context: CommandContext,
  session: Session,
  clock: VirtualClock | undefined,
  work: () => Promise<A>,
): Promise<A> {
  return clock === undefined
    ? watchingStore(context, session, work)
    : context.runtime.promise(Effect.raceFirst(Effect.promise(work), stuck(clock)));
}

/** Fails when all work on a virtual clock has come to rest while a step still waits. */
function stuck(clock: VirtualClock): Effect.Effect<never> {
  const settled = Effect.exit(Effect.promise(() => clock.settle()));
  return Effect.sleep(STUCK_MILLIS).pipe(
    Effect.andThen(settled),
    Effect.andThen(Effect.die(
      new CommandFailure(
        "unavailable",
        "The step waits for a time that has not come on the virtual clock, such as that of a repeated request; what " +
          "it began goes on with the next advance",
      ),
    )),
  );
}

/** Whether a signal has asked the process to end, and standard input until then. */
function stopSignal({ io }: CommandContext) {
  let isAsked = false;
  let wake: () => void = () => {};
  const asked = new Promise<IteratorResult<Uint8Array>>((resolve) => {
    wake = () => resolve({ done: true, value: undefined });
  });
  return {
    isAsked: () => isAsked,
    forget: io.onStop(() => {
      isAsked = true;
      wake();
    }),
    until: (source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => ({
      [Symbol.asyncIterator]: () => {
        const input = source[Symbol.asyncIterator]();
        return { next: () => Promise.race([input.next(), asked]) };
      },
    }),
  };
}

/** Runs scripts. */
export const execCommand: Command = {
  spec: {
    name: "exec",
    summary: "Run steps from standard input, one JSON object per line, and answer each with one line",
    details: 'A step is {"op":"put","key":"a","value":"1"}: an operation and its fields. The answer is {"ok":…} or ' +
      '{"error":"<kind>","message":"…"}, and comes before the next line is read, so that a program can talk to it. ' +
      'Keys and values are strings or {"hex":"00ff"}, {"repeat":"x","count":9}, {"u64le":1}; in answers always ' +
      '{"hex":…}. "ok" holds the value or null of get, [[key,value],…] of scan, [key,value] or null of next, ' +
      "{seq,createTs} of a write, {result,seq} of commit, the fields of getKeyValue, {closeReason} of status, the " +
      "list of its answers of each, else {}. Errors also have a reason, and conflicts the key or range and seq in " +
      "the way.\n" +
      "Operations: open close crash; put merge delete deleteRange write; get getKeyValue scan; iter next seek; snapshot " +
      "release; begin markRead unmarkWrite commit rollback; flush compact gc; advance setClock; openReader poll " +
      "checkpoint status; plant storeCheck; each. docs/SCRIPTS.md has their fields.\n" +
      "A step that cannot be run is answered with an error of kind InvalidArgument, changes nothing, and the next " +
      "line goes on. The end of the input closes what is open. The exit code is 0 when all lines were answered, also " +
      "by errors; 1 when closing failed or a signal came first. Nothing is compacted or collected by itself. " +
      "open makes a database where none is. After deleteRange SlateDB refuses the database (docs/SCRIPTS.md); " +
      '--settings \'{"rangeDeletes":"expand"}\' deletes key by key instead.',
    positions: [LOCATION_POSITION],
    flags: [
      {
        name: "settings",
        kind: "text",
        value: "JSON",
        about: "Settings of every open: flushIntervalMs, walEnabled, defaultTtlMs, l0SstSizeBytes, rangeDeletes",
      },
      {
        name: "merge-operator",
        kind: "choice",
        choices: MERGE_OPERATORS,
        about: "How merge operands are folded; without one they are stored, and reads that meet one fail",
      },
      { name: "merge", kind: "choice", choices: MERGE_OPERATORS, about: "The same as --merge-operator" },
      {
        name: "ttl",
        kind: "choice",
        choices: ["strict", "slatedb"],
        about: "Hide expired rows (strict, the default), or show them until a rewrite removes them, as SlateDB does",
      },
      {
        name: "virtual-clock",
        kind: "switch",
        about: "Time begins at 0 and moves only by advance and setClock; writes may not go back in time at all",
      },
      JSON_FLAG,
      ...LOCATION_FLAGS,
    ],
    examples: [
      'printf \'%s\\n\' \'{"op":"open"}\' \'{"op":"scan","prefix":"user/"}\' | phyllite exec ./data',
      "phyllite exec memory: --virtual-clock < steps.ndjson",
    ],
  },
  run: runExec,
};
