/**
 * The seeds of tests with random faults.
 *
 * `PHYLLITE_FAULTS=5000` tries that many, from `PHYLLITE_FAULT_FIRST` (default 1000) on; `PHYLLITE_FAULT_SEED=123` tries
 * that one.
 *
 * @module
 */
import { canReadEnvironment } from "../support/permissions.ts";

const FIRST_OF_MANY = 1000;

function setting(name: string): number | undefined {
  const text = canReadEnvironment() ? process.env[name] : undefined;
  return text === undefined || text === "" ? undefined : Number(text);
}

/** The seeds to try: `count` of them unless the environment says otherwise. */
export function faultSeeds(count: number): number[] {
  const only = setting("PHYLLITE_FAULT_SEED");
  if (only !== undefined) return [only];
  const many = setting("PHYLLITE_FAULTS");
  const first = many === undefined ? 0 : setting("PHYLLITE_FAULT_FIRST") ?? FIRST_OF_MANY;
  return Array.from({ length: many ?? count }, (_, i) => first + i);
}

/** Runs `body` from each seed; what fails says how to see it again. @param file of the test */
export async function fromSeeds(count: number, file: string, body: (seed: number) => Promise<void>): Promise<void> {
  for (const seed of faultSeeds(count)) {
    try {
      await body(seed);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const replay = `PHYLLITE_FAULT_SEED=${seed} deno test -A tests/db/${file}`;
      throw new Error(`Seed ${seed} fails: ${why}\nReplay it with: ${replay}`, { cause: error });
    }
  }
}
