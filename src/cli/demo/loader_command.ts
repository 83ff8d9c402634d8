/**
 * The demo's child process: loads a tree and says on its standard output, line by line, what is durable.
 *
 * It runs at most a window of batches ahead of the parent, which answers each line with a line break: so it can not be
 * done before the parent kills it, however small the tree; and it ends by itself when the parent is gone.
 *
 * Invariants: a line is printed only after every key in it is durable.
 *
 * @module
 */
import type { CostReport } from "../../db/api.ts";
import { open } from "../../db/promise_open.ts";
import { BatchWriter } from "../batch_writer.ts";
import { textOf } from "../bytes_text.ts";
import type { Command, CommandContext } from "../command.ts";
import { rowsOfTree } from "../import_sources.ts";
import { watchingStore } from "../store_watch.ts";
import { planDemo } from "./demo_plan.ts";
import { OutputClosed } from "../usage_error.ts";

const NEWLINE = 10;

/** One line of the child: these keys are durable. */
export interface Acknowledgement {
  readonly durable: readonly string[];
  readonly bytes: number;
  readonly seq: number;
  /** Requests that the child has made so far. */
  readonly cost: CostReport;
}

/** Counts the parent's line breaks; a batch may start while fewer than a window are unanswered. */
class Window {
  #free: number;
  #isOver = false;
  #wake: () => void = () => {};

  constructor(batches: number) {
    this.#free = batches;
  }

  /** Waits for room. Fails when the parent is gone. */
  async take(): Promise<void> {
    while (this.#free === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#isOver) throw new OutputClosed();
    this.#free--;
  }

  /** Reads the parent's answers until it is gone. */
  async listen(input: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of input) {
        for (const byte of chunk) if (byte === NEWLINE) this.#free++;
        this.#wake();
      }
    } finally {
      this.#isOver = true;
      this.#wake();
    }
  }
}

async function runLoader(context: CommandContext): Promise<number> {
  const { args, io, out } = context;
  const plan = await planDemo(args.position("folder"));
  const window = new Window(plan.windowBatches);
  window.listen(io.stdin).catch(() => {});
  const db = await open(args.position("location"), { l0SstSizeBytes: plan.l0SstSizeBytes });
  const writer = new BatchWriter(db, async ({ keys, bytes, seq }) => {
    const line: Acknowledgement = { durable: keys.map((key) => textOf(key)!), bytes, seq, cost: db.cost() };
    await out.json(line);
    await out.flush();
  }, { batchBytes: plan.batchBytes, batchRows: plan.batchRows, beforeBatch: () => window.take() });
  await watchingStore(context, db, async () => {
    for await (const row of rowsOfTree(plan, new Uint8Array(0))) await writer.add(row);
    await writer.finish();
  });
  await db.close();
  return 0;
}

/** Loads a tree and acknowledges; part of `demo`. */
export const loaderCommand: Command = {
  spec: {
    name: "demo-loader",
    summary: "Part of demo: load a folder and print what is durable",
    hidden: true,
    positions: [{ name: "location", about: "folder of the database" }, { name: "folder", about: "files to load" }],
    flags: [],
  },
  run: runLoader,
};
