/**
 * Writes the measurements down as Markdown: `bench/README.md`, from the newest recorded run of each kind.
 *
 * Invariant: every goal is listed with what was measured, met or not; a case that failed or was not measured says so.
 *
 * @module
 */
import { costGoalRows } from "./cost_report.ts";
import { allowedMicros, EFFECT_PUTS, EFFECT_PUTS_RATIO, type Goal, GOALS, judge, type RunName } from "./goals.ts";
import type { Circumstances, MicroLine, PeersLine } from "./history.ts";
import type { PeerRun, PeerSettings } from "./peers.ts";
import { OURS } from "./s3_cost_run.ts";
import type { CaseResult, Ratio } from "./statistics.ts";

const PEER_NAMES: Readonly<Record<string, string>> = {
  "slatedb": "SlateDB",
  "classic-level": "classic-level",
  "lmdb": "lmdb",
};
const RUNTIME_NAMES: Readonly<Record<string, string>> = { deno: "Deno", bun: "Bun", node: "Node" };

/** Puts a comparison of two hundred thousand rows, and what else was measured, into one document. */
export function renderReport(peers: PeersLine | undefined, micro: MicroLine | undefined): string {
  return [
    "# Measurements",
    "Written by `deno task bench`; do not edit. Times depend on the machine and on what else it does: compare ratios, " +
    "which are taken between processes of the same round, and read single figures with their spread.",
    peers === undefined ? "No comparison with other stores has been recorded yet." : renderPeers(peers, micro),
    micro === undefined ? "No micro bench has been recorded yet." : renderMicro(micro),
    HOW,
  ].join("\n\n") + "\n";
}

const HOW = `## How to measure again

\`\`\`text
deno task bench                          micro benches and whole-engine workloads, on Deno and Bun
deno task bench --peers                  the same, and the comparison with SlateDB, classic-level and lmdb
deno task bench --quick --peers          minutes instead of hours; shown, not recorded
deno task bench --only main --rounds 5   parts: block memtable read cursor ranges
                                         transactions compaction cost engine,
                                         main replay open ingest compact compact1k foreground layers
                                         s3 s3cost
\`\`\`

Options: \`--n ROWS\` (200000), \`--rounds N\` (3), \`--runtimes deno,bun=PATH,node\`. The comparison needs the
side-by-side driver, a folder \`shared/peerbench\` next to the checkout (or \`PHYLLITE_PEERBENCH\`), and network once, to
install the peers into a cache folder outside the repository (or \`PEER_MODULES\`, a folder above \`node_modules\`).
\`bench/ours.ts\` is the adapter that the driver loads: public Promise API, default options, WAL on. Each contender is a
fresh process per round, rounds alternate their order. Recorded runs are lines of \`bench/history/*.jsonl\`: commit, date,
machine, versions, and per case median, half range in percent and in-round ratios (median, least, most).`;

function renderPeers(line: PeersLine, micro: MicroLine | undefined): string {
  const main = line.runs.find(({ settings }) => settings.run === "main");
  const settings = main?.settings ?? line.runs[0]!.settings;
  const versions = Object.entries(line.peers).map(([name, version]) => `${name} ${version}`).join(", ");
  const failures = line.runs.flatMap((run) => run.failures);
  return [
    "## Goals, against other stores",
    `${renderCircumstances(line)} Peers: ${versions}.`,
    `File store, ${settings.rows.toLocaleString("en-US")} rows of 16 + 100 bytes, random keys; what other runs are ` +
    "made of, and rounds, time and load of each run, are said below: they may differ. A ratio says how many times " +
    `better this engine is than the peer: median of the rounds (least to most). ${scoreLine(line)}`,
    renderGoals(line),
    renderEffectPuts(line, micro),
    "M1 asks for memory, S / ours. On S3 means: on a simulator of it that takes 15 ms to answer a GET and 30 ms to " +
    "answer a PUT, with the rows of the run below; R7 asks for at most 1.1 and 2.2 times the former, P6 for at most " +
    "1.25 times the latter.",
    ...failures.map((failure) => `Failed: ${failure.replaceAll("\n", " ")}`),
    ...line.runs.flatMap((run) => run.settings.run === "s3cost" ? [renderCounts(run)] : []),
    ...line.runs.map((run) => renderRun(run, line)),
  ].join("\n\n");
}

function renderCircumstances({ machine, runtimes, commit, date }: Circumstances): string {
  const versions = Object.entries(runtimes).map(([name, version]) => `${RUNTIME_NAMES[name]} ${version}`).join(", ");
  return `Commit ${commit}, ${date}, ${versions}, ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, ` +
    `${machine.system}, load ${machine.load} at the start.`;
}

function caseOf(line: PeersLine, goal: Goal, runtime: string): CaseResult | undefined {
  return line.runs.find(({ settings }) => settings.run === goal.run)?.cases[runtime]?.[goal.metric];
}

function scoreLine(line: PeersLine): string {
  const scores = Object.keys(line.runtimes).map((runtime) => {
    const verdicts = GOALS.map((goal) => judge(goal, runtime, caseOf(line, goal, runtime), OURS));
    const missing = verdicts.filter(({ ratio }) => ratio === undefined).length;
    const met = verdicts.filter((verdict) => verdict.met).length;
    return `${RUNTIME_NAMES[runtime]} ${met} of ${GOALS.length}${missing === 0 ? "" : ` (${missing} not measured)`}`;
  });
  return `Comparisons met: ${scores.join(", ")}.`;
}

function renderGoals(line: PeersLine): string {
  const runtimes = Object.keys(line.runtimes);
  const rows = GOALS.map((goal) => {
    const cells = runtimes.flatMap((runtime) => {
      const measured = caseOf(line, goal, runtime);
      const { needed, ratio, met } = judge(goal, runtime, measured, OURS);
      const value = measured?.values[OURS]?.[0];
      const limited = goal.atMost !== undefined && value !== undefined ? `, ${figure(value)} µs` : "";
      const most = allowedMicros(goal, runtime);
      const asked = [needed > 0 ? [`${figure(needed)}x`] : [], most === undefined ? [] : [`≤ ${figure(most)} µs`]]
        .flat();
      return [
        asked.join(", "),
        ratio === undefined ? "not measured" : `${times(ratio)}${limited}`,
        ratio === undefined ? "-" : met ? "met" : "**missed**",
      ];
    });
    return [goal.id, goal.what, PEER_NAMES[goal.peer]!, ...cells];
  });
  const head = ["id", "what", "against", ...runtimes.flatMap((name) => ["goal", RUNTIME_NAMES[name]!, ""])];
  return table(head, rows, 3);
}

/** P5: our own figure against SlateDB's median of the comparison, so not a ratio within a round. */
function renderEffectPuts(line: PeersLine, micro: MicroLine | undefined): string {
  const main = line.runs.find(({ settings }) => settings.run === "main");
  const found = Object.keys(line.runtimes).map((runtime) => {
    const ours = micro?.cases.find(({ name }) => name === EFFECT_PUTS)?.values[runtime]?.[0];
    const theirs = main?.cases[runtime]?.["put_1_ops"]?.values["slatedb"]?.[0];
    if (ours === undefined || theirs === undefined) return `${RUNTIME_NAMES[runtime]} not measured`;
    const ratio = ours / theirs;
    const verdict = ratio >= EFFECT_PUTS_RATIO ? "met" : "**missed**";
    return `${RUNTIME_NAMES[runtime]} ${figure(ours)} op/s, ${figure(ratio)}x (${verdict})`;
  });
  return `P5, puts inside a fiber through the Effect API against SlateDB's single put, goal ${EFFECT_PUTS_RATIO}x: ` +
    `${found.join("; ")}. Measured apart, so a quotient of medians.`;
}

const SLATEDB_START =
  " SlateDB's compaction begins up to 100 ms after the clock, or before its open has returned: its " +
  "figure can be far off either way.";

/** What a reader of a run's figures should know. */
const REMARKS: Partial<Record<RunName, string>> = {
  compact: SLATEDB_START,
  compact1k: SLATEDB_START,
  s3:
    " The simulator runs on Node: a bare HTTP client gets its answers after about 16.4 and 31.5 ms on a machine that does " +
    "nothing else.",
  foreground:
    " `fg_get` counts from the moment a get was due, timers included, `fg_call` from its call; `fg_quiet` is " +
    "the same without a compaction.",
  layers:
    " Both read copies of the same tables and runs, since the two engines would each compact in their own way, and write " +
    "the last seventh of the rows into their memtable; 20,000 gets before the first scan bring blocks into the cache. " +
    "Full scans are repeated, three times at least, and the median counts.",
};

function titleOf({ run, rows, valueBytes, replayMB, ingestMB, l0MB }: PeerSettings): string {
  switch (run) {
    case "main":
      return "All cases";
    case "replay":
      return `Replay of ${replayMB} MB`;
    case "open":
      return `With ${rows.toLocaleString("en-US")} rows, times cut short`;
    case "ingest":
      return `Ingest of ${ingestMB} MB, tables of ${l0MB} MiB, compaction on`;
    case "compact":
    case "compact1k":
      return `Compaction of 8 tables of ${l0MB} MB, rows of ${16 + valueBytes} bytes`;
    case "s3":
      return `On S3 with ${rows.toLocaleString("en-US")} rows`;
    case "s3cost":
      return "Requests on S3, counted";
    case "layers":
      return `Over a memtable, 4 level-0 tables and 2 runs, ${rows.toLocaleString("en-US")} rows`;
    case "foreground":
      return `A get of a cached key each millisecond while ${ingestMB} MB are compacted`;
  }
}

/** The cases of a run that are worth a line; all when it is not here. */
const SHOWN: Partial<Record<RunName, RegExp>> = {
  open: /^open_ms|^load_|^rss/,
  s3: /^open_|^load_|^put_durable|^get_cold|nocache|^scan_|^close/,
  s3cost: /_(?:puts|putBytes|gets|getBytes|lists)_per_|_s$/,
};

function renderCounts(run: PeerRun): string {
  const { head, rows } = costGoalRows(run);
  return [
    "### Goals of requests on S3",
    "Counted by the simulator, ours and SlateDB's in the same run; K3 and K4 ask for a part of SlateDB's. Requests are " +
    "PUT, GET, HEAD and LIST, each part of a large object one; deletions cost nothing. The first open of a process " +
    "makes one more, to see whether the service refuses to create what exists. An open of SlateDB includes what its " +
    "background tasks ask meanwhile.",
    table(head, rows, 3),
  ].join("\n\n");
}

function renderRun(run: PeerRun, line: PeersLine): string {
  const { settings, measured = { date: line.date, load: line.machine.load } } = run;
  const what = titleOf(settings);
  return Object.entries(run.cases).map(([runtime, cases]) => {
    const contenders = [OURS, ...settings.contenders];
    const rows = Object.entries(cases).filter(([metric, { values }]) =>
      (SHOWN[settings.run]?.test(metric) ?? true) && Object.values(values).some(([value]) => value !== 0)
    )
      .map(([metric, { values, ratios }]) => [
        `\`${metric}\``,
        ...contenders.map((contender) => {
          const value = values[contender];
          if (value === undefined) return "-";
          const ratio = ratios[contender];
          return `${figure(value[0])} ±${value[1]}%${ratio === undefined ? "" : ` (${figure(ratio[0])}x)`}`;
        }),
      ]);
    return [
      `### ${what}, ${RUNTIME_NAMES[runtime]}`,
      `${settings.rounds} rounds, ${measured.date}, load ${measured.load} at the start. ` +
      "Medians, half range in percent; in brackets: times better this engine is in that round. `_ops` and `_entries` " +
      `per second.${REMARKS[settings.run] ?? ""}`,
      table(["case", "Phyllite", ...settings.contenders.map((name) => PEER_NAMES[name] ?? name)], rows, 1),
    ].join("\n\n");
  }).join("\n\n");
}

function renderMicro(line: MicroLine): string {
  const runtimes = Object.keys(line.runtimes);
  const rows = line.cases.map(({ group, name, unit, values }) => [
    group,
    name,
    ...runtimes.map((runtime) => {
      const value = values[runtime];
      if (value === undefined) return "-";
      return unit.startsWith("requests") ? figure(value[0]) : `${figure(value[0])} ±${value[1]}%`;
    }),
    unit,
  ]);
  return [
    "## Parts and the whole engine, alone",
    `${renderCircumstances(line)} Medians of ${line.rounds} processes, half range in percent.`,
    table(["part", "what", ...runtimes.map((name) => RUNTIME_NAMES[name]!), "unit"], rows, 2),
  ].join("\n\n");
}

function times([median, least, most]: Ratio): string {
  return `${figure(median)}x (${figure(least)}..${figure(most)})`;
}

function figure(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(size >= 100 ? value.toFixed(0) : value.toPrecision(3)));
}

function table(head: readonly string[], rows: readonly (readonly string[])[], textColumns: number): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = `|${head.map((_, i) => i < textColumns ? "---" : "---:").join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}
