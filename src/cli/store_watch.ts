/**
 * Says that a writing command waits because the store takes nothing, and ends the wait when nobody is there to do it.
 *
 * A database repeats its writes for as long as it is open. A person can press Ctrl-C; a script can not, so where
 * standard error is no terminal the command fails after `GIVE_UP_MILLIS` of a degraded store.
 *
 * @module
 */
import { Effect, Fiber } from "effect";
import type { DbStatus } from "../db/api.ts";
import type { CommandContext } from "./command.ts";
import { CommandFailure } from "./usage_error.ts";

/** How long a degraded store is waited for where standard error is no terminal, ms. */
export const GIVE_UP_MILLIS = 60_000;

/** What says whether its store takes writes: an open database, or anything else that writes. */
export interface WatchedStatus {
  onStatus(listener: (status: Pick<DbStatus, "degraded" | "warnings">) => void): () => void;
}

/** Runs `work`, which writes to `db`. Fails with `CommandFailure` "unavailable" when the wait is given up. */
export async function watchingStore<A>(
  { err, runtime }: Pick<CommandContext, "err" | "runtime">,
  db: WatchedStatus,
  work: () => Promise<A>,
): Promise<A> {
  let told = false;
  let waiting: Fiber.Fiber<void> | undefined;
  let giveUp: (error: CommandFailure) => void = () => {};
  const givenUp = new Promise<never>((_, reject) => giveUp = reject);
  const stopWaiting = () => {
    if (waiting !== undefined) runtime.fork(Fiber.interrupt(waiting));
    waiting = undefined;
  };
  const unlisten = db.onStatus((status) => {
    if (!status.degraded) return stopWaiting();
    if (!told) {
      told = true;
      const text = `phyllite: the store does not take writes (${reasonOf(status)}); still trying, Ctrl-C keeps what ` +
        "is durable";
      void err.line(text).then(() => err.flush()).catch(() => {});
    }
    if (err.isTerminal || waiting !== undefined) return;
    const failure = new CommandFailure(
      "unavailable",
      `Gave up: the store did not take writes (${
        reasonOf(status)
      }). What was reported durable is; the rest may be lost`,
    );
    waiting = runtime.fork(Effect.andThen(Effect.sleep(GIVE_UP_MILLIS), Effect.sync(() => giveUp(failure))));
  });
  try {
    return await Promise.race([work(), givenUp]);
  } finally {
    unlisten();
    stopWaiting();
  }
}

/** What the status says about the store: the last thing that it warns of while degraded. */
function reasonOf(status: Pick<DbStatus, "warnings">): string {
  return status.warnings.at(-1) ?? "unavailable";
}
