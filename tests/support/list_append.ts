/**
 * Looks for anomalies in histories of transactions that read and append to lists, by the rules of Elle (Kingsbury and
 * Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations").
 *
 * Every appended element is unique, so a list that was read tells which transactions shaped it and in which order. From
 * that follow three kinds of dependencies: who wrote next (ww), who read what was written (wr), who wrote what somebody
 * had not seen (rw); besides, who began after whose end (rt). A cycle of them is an anomaly; which ones are forbidden is
 * a matter of the isolation level: under snapshot isolation those without two rw edges side by side, under serializable
 * all. Lost, aborted, intermediate and doubled elements are looked for directly.
 *
 * @module
 */

/** One step of a transaction: an append, or a read with what it saw. */
export type ListStep =
  | { readonly kind: "append"; readonly key: string; readonly element: number }
  | { readonly kind: "read"; readonly key: string; readonly list: readonly number[] };

/** One transaction, with the moments at which it began and had its answer; no two moments are equal. */
export interface ListTransaction {
  readonly id: number;
  readonly steps: readonly ListStep[];
  readonly outcome: "committed" | "aborted";
  readonly begun: number;
  readonly ended: number;
}

/** What the history is held to. */
export type Level = "snapshot" | "serializable";

type EdgeKind = "ww" | "wr" | "rw" | "rt";
/** From each transaction, to which others, and why. */
type Graph = Map<number, Map<number, Set<EdgeKind>>>;

/** Anomalies that `level` forbids, in words; none when the history is fine. */
export function findAnomalies(history: readonly ListTransaction[], level: Level): string[] {
  const orders = versionOrders(history);
  const found = [...directAnomalies(history, orders), ...lostAppends(history)];
  const graph = dependencies(history, orders);
  const plain = cycleIn(filtered(graph, (kind) => kind !== "rw"));
  if (plain !== undefined) found.push(`G1c ${told(graph, plain)}`);
  const single = plain === undefined ? cycleIn(composed(graph)) : undefined;
  if (single !== undefined) found.push(`G-nonadjacent among ${[...new Set(single)].join(", ")}`);
  if (level === "serializable" && plain === undefined && single === undefined) {
    const any = cycleIn(filtered(graph, () => true));
    if (any !== undefined) found.push(`G2 ${told(graph, any)}`);
  }
  return found;
}

/** Per key the longest list that a committed transaction read. */
function versionOrders(history: readonly ListTransaction[]): Map<string, readonly number[]> {
  const orders = new Map<string, readonly number[]>();
  for (const { steps, outcome } of history) {
    if (outcome !== "committed") continue;
    for (const step of steps) {
      if (step.kind === "read" && step.list.length > (orders.get(step.key)?.length ?? 0)) {
        orders.set(step.key, step.list);
      }
    }
  }
  return orders;
}

interface Author {
  readonly by: ListTransaction;
  readonly isFinal: boolean;
}

function authors(history: readonly ListTransaction[]): Map<string, Author> {
  const all = new Map<string, Author>();
  for (const by of history) {
    const last = new Map<string, number>();
    for (const step of by.steps) if (step.kind === "append") last.set(step.key, step.element);
    for (const step of by.steps) {
      if (step.kind !== "append") continue;
      const name = `${step.key}/${step.element}`;
      if (all.has(name)) throw new Error(`${name} is appended twice: the history proves nothing`);
      all.set(name, { by, isFinal: last.get(step.key) === step.element });
    }
  }
  return all;
}

function* directAnomalies(
  history: readonly ListTransaction[],
  orders: ReadonlyMap<string, readonly number[]>,
): Iterable<string> {
  const wrote = authors(history);
  for (const tx of history) {
    const own = new Map<string, number[]>();
    const before = new Map<string, string>();
    for (const step of tx.steps) {
      const mine = own.get(step.key) ?? [];
      if (step.kind === "append") {
        own.set(step.key, [...mine, step.element]);
        continue;
      }
      const { key, list } = step;
      const others = list.slice(0, list.length - mine.length);
      if (list.slice(others.length).join() !== mine.join()) yield `internal: ${tx.id} lost its own appends to ${key}`;
      if ((before.get(key) ?? others.join()) !== others.join()) yield `fuzzy: ${tx.id} read ${key} twice, differently`;
      before.set(key, others.join());
      if (new Set(list).size < list.length) yield `duplicate: ${tx.id} read ${key} = ${list}`;
      for (const [at, element] of others.entries()) {
        const author = wrote.get(`${key}/${element}`);
        if (author === undefined) yield `garbage: ${tx.id} read ${element} in ${key}`;
        else if (author.by.outcome === "aborted") yield `G1a: ${tx.id} read ${element} of aborted ${author.by.id}`;
        else if (!author.isFinal && at === others.length - 1) {
          yield `G1b: ${tx.id} read ${element} in the middle of ${author.by.id}`;
        }
      }
      if (tx.outcome === "committed" && (orders.get(key) ?? []).slice(0, list.length).join() !== list.join()) {
        yield `incompatible: ${tx.id} read ${key} = ${list}, somebody else ${orders.get(key)}`;
      }
    }
  }
}

/** Committed elements that a transaction which began later did not find. */
function* lostAppends(history: readonly ListTransaction[]): Iterable<string> {
  const committed = history.filter(({ outcome }) => outcome === "committed");
  for (const { id, steps, ended } of committed) {
    for (const step of steps) {
      if (step.kind !== "append") continue;
      const misses = committed.find(({ begun, steps: later }) =>
        begun > ended &&
        later.some((one) => one.kind === "read" && one.key === step.key && !one.list.includes(step.element))
      );
      if (misses !== undefined) yield `lost: ${misses.id} does not find ${step.element} of ${id} in ${step.key}`;
    }
  }
}

/** The elements of a read that were there before the transaction's own appends. */
function foreignPart(tx: ListTransaction, at: number): readonly number[] {
  const step = tx.steps[at] as Extract<ListStep, { kind: "read" }>;
  const mine = tx.steps.slice(0, at).filter((one) => one.kind === "append" && one.key === step.key).length;
  return step.list.slice(0, step.list.length - mine);
}

function dependencies(
  history: readonly ListTransaction[],
  orders: ReadonlyMap<string, readonly number[]>,
): Graph {
  const wrote = authors(history);
  const graph: Graph = new Map();
  const link = (from: ListTransaction | undefined, to: ListTransaction | undefined, kind: EdgeKind) => {
    if (from === undefined || to === undefined || from === to) return;
    if (from.outcome !== "committed" || to.outcome !== "committed") return;
    const edges = graph.get(from.id) ?? new Map<number, Set<EdgeKind>>();
    graph.set(from.id, edges.set(to.id, (edges.get(to.id) ?? new Set()).add(kind)));
  };
  const author = (key: string, element: number | undefined) =>
    element === undefined ? undefined : wrote.get(`${key}/${element}`)?.by;
  for (const [key, order] of orders) {
    for (let i = 1; i < order.length; i++) link(author(key, order[i - 1]), author(key, order[i]), "ww");
  }
  for (const tx of history) {
    for (const [at, step] of tx.steps.entries()) {
      if (step.kind !== "read") continue;
      const seen = foreignPart(tx, at);
      link(author(step.key, seen.at(-1)), tx, "wr");
      // The first element after what was seen that is not the reader's own.
      const next = (orders.get(step.key) ?? []).slice(seen.length).find((one) => author(step.key, one) !== tx);
      link(tx, author(step.key, next), "rw");
    }
  }
  for (const from of history) for (const to of history) if (from.ended < to.begun) link(from, to, "rt");
  return graph;
}

function filtered(graph: Graph, wanted: (kind: EdgeKind) => boolean): Map<number, Set<number>> {
  const edges = new Map<number, Set<number>>();
  for (const [from, targets] of graph) {
    edges.set(from, new Set([...targets].filter(([, kinds]) => [...kinds].some(wanted)).map(([to]) => to)));
  }
  return edges;
}

/** Edges other than rw, each alone or followed by one rw: a cycle of these is one without two rw side by side. */
function composed(graph: Graph): Map<number, Set<number>> {
  const plain = filtered(graph, (kind) => kind !== "rw");
  const anti = filtered(graph, (kind) => kind === "rw");
  const edges = new Map<number, Set<number>>();
  for (const [from, targets] of plain) {
    edges.set(from, new Set([...targets].flatMap((to) => [to, ...(anti.get(to) ?? [])])));
  }
  return edges;
}

/** Some cycle, as the transactions on it; undefined when there is none. */
function cycleIn(edges: ReadonlyMap<number, ReadonlySet<number>>): number[] | undefined {
  const done = new Set<number>();
  for (const start of edges.keys()) {
    if (done.has(start)) continue;
    const path: number[] = [start];
    const pending = [[...(edges.get(start) ?? [])]];
    while (path.length > 0) {
      const next = pending.at(-1)!.pop();
      if (next === undefined) {
        done.add(path.pop()!);
        pending.pop();
      } else if (path.includes(next)) {
        return path.slice(path.indexOf(next));
      } else if (!done.has(next)) {
        path.push(next);
        pending.push([...(edges.get(next) ?? [])]);
      }
    }
  }
  return undefined;
}

function told(graph: Graph, cycle: readonly number[]): string {
  return cycle.map((from, i) => {
    const to = cycle[(i + 1) % cycle.length]!;
    return `${from} -${[...graph.get(from)?.get(to) ?? []].join("/")}-> ${to}`;
  }).join(", ");
}
