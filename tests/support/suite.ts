/**
 * The one seam between our tests and a test framework: `node:test` and `node:assert/strict`, which run under
 * `deno test`, `bun test` and `node --test` alike. Where JSR can be reached, this is the file to change for
 * `@std/testing`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { Effect, type Scope } from "effect";
import { TestClock } from "effect/testing";

export { after, afterEach, assert, before, beforeEach, describe, it };

/** A test that is an effect: gets a scope and a test clock, fails with the effect's error. */
export function effectTest<A, E>(name: string, program: () => Effect.Effect<A, E, Scope.Scope>): void {
  it(name, async () => {
    await Effect.runPromise(Effect.scoped(program()).pipe(Effect.provide(TestClock.layer())));
  });
}
