/**
 * One budget for each store, whoever in this process uses it: databases, readers, administration.
 *
 * What counts as one store: one endpoint where the store names it (`provider`), the same object otherwise. Each clock has
 * budgets of its own: times of a virtual clock mean nothing to another, and what one simulation did must not change what
 * the next one does.
 *
 * @module
 */
import type { Clock } from "effect";
import type { ObjectStoreShape } from "./object_store.ts";
import { RequestGate } from "./request_gate.ts";
import { RetryBudget } from "./retry_budget.ts";

/** Endpoints remembered for each clock; the one that nobody has asked about for longest is forgotten first. */
const ENDPOINTS_MAX = 64;

interface Budgets {
  readonly ofObjects: WeakMap<ObjectStoreShape, RetryBudget>;
  readonly ofEndpoints: Map<string, RetryBudget>;
}

const BY_CLOCK: WeakMap<Clock.Clock, Budgets> = new WeakMap();

/** The budget of whatever lies behind `store`, by the clock of who asks. */
export function sharedBudget(store: ObjectStoreShape): (clock: Clock.Clock) => RetryBudget {
  let last: Clock.Clock | undefined;
  let budget: RetryBudget | undefined;
  return (clock) => {
    if (budget === undefined || last !== clock) {
      budget = find(store, clock);
      last = clock;
    }
    return budget;
  };
}

function find(store: ObjectStoreShape, clock: Clock.Clock): RetryBudget {
  let budgets = BY_CLOCK.get(clock);
  if (budgets === undefined) {
    budgets = { ofObjects: new WeakMap(), ofEndpoints: new Map() };
    BY_CLOCK.set(clock, budgets);
  }
  const { ofObjects, ofEndpoints } = budgets;
  const { provider } = store;
  if (provider === undefined) {
    const budget = ofObjects.get(store) ?? budgetOf(store);
    ofObjects.set(store, budget);
    return budget;
  }
  const budget = ofEndpoints.get(provider.endpoint) ?? budgetOf(store);
  ofEndpoints.delete(provider.endpoint);
  ofEndpoints.set(provider.endpoint, budget);
  for (const oldest of ofEndpoints.keys()) {
    if (ofEndpoints.size <= ENDPOINTS_MAX) break;
    ofEndpoints.delete(oldest);
  }
  return budget;
}

function budgetOf({ provider }: ObjectStoreShape): RetryBudget {
  return new RetryBudget(undefined, new RequestGate(provider?.connections));
}
