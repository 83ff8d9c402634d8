/**
 * The program that keeps one S3 server for tests: installs it, starts it on loopback in a temporary folder, kills and
 * restarts it when told, and ends it.
 *
 * It is started by `tests/support/s3_servers.ts`, reads commands as lines from its standard input ("kill", "start",
 * "stop") and answers with lines of JSON, one for the start and one for each command.
 *
 * Invariants: when its input ends, for whatever reason (the test run was killed too), or at a SIGTERM, SIGINT or SIGHUP,
 * the server is killed and its folder removed before this program ends; it leads a session of its own, so that
 * the keys of a terminal do not reach it before the end of its input does.
 *
 * @module
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { installCeph, installMiniflare, Unavailable } from "./install.ts";
import { isListening, Processes, waitUntil } from "./processes.ts";
import { r2Server } from "./r2.ts";
import { rgwServer } from "./rgw.ts";
import type { RunnableServer, S3Kind, S3Place } from "./server.ts";

/** A line that this program writes. */
export type HostLine =
  | { readonly event: "ready"; readonly place: S3Place; readonly seconds: number }
  | { readonly event: "unavailable"; readonly why: string }
  | { readonly event: "done"; readonly command: string }
  | { readonly event: "trouble"; readonly why: string };

/** A port may be taken between its choice and its use. */
const START_ATTEMPTS = 2;
const LOG_TAIL_CHARS = 1500;
const GONE_LIMIT_MILLIS = 15_000;

class Host {
  readonly #kind: S3Kind;
  readonly #folder: string;
  readonly #processes: Processes;
  #server: RunnableServer | undefined;
  #ending = false;

  constructor(kind: S3Kind) {
    this.#kind = kind;
    this.#folder = mkdtempSync(join(tmpdir(), `phyllite-s3-${kind}-`));
    this.#processes = new Processes((name, how) => this.#say(`${name} ${how}`));
  }

  async start(): Promise<S3Place> {
    const say = (what: string) => this.#say(what);
    if (this.#kind === "rgw") await installCeph(this.#processes, say);
    const miniflare = this.#kind === "r2" ? await installMiniflare(this.#processes, say) : undefined;
    for (let attempt = 1;; attempt++) {
      const folder = mkdtempSync(join(this.#folder, "state-"));
      try {
        const server = miniflare === undefined
          ? await rgwServer(folder, this.#processes)
          : await r2Server(folder, this.#processes, miniflare);
        await server.run();
        this.#server = server;
        return server.place;
      } catch (error) {
        if (this.#ending || attempt === START_ATTEMPTS) throw new Error(`${messageOf(error)}\n${logTails(folder)}`);
        this.#say(`starts once more: ${messageOf(error)}`);
        await this.#processes.kill();
      }
    }
  }

  async command(command: string): Promise<void> {
    if (command === "kill") {
      await this.#processes.kill();
      return await this.#portIsFree();
    }
    if (command === "start" && this.#server !== undefined) return await this.#server.run();
    throw new Error(`unknown command ${command}`);
  }

  /** Ends everything; afterwards nothing of the server is left. */
  async end(): Promise<void> {
    this.#ending = true;
    try {
      await this.#processes.killAll();
      await this.#portIsFree();
    } finally {
      rmSync(this.#folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
    }
  }

  /** Waits until nobody listens any more: the child of a killed child (workerd) is not ours to wait for. */
  async #portIsFree(): Promise<void> {
    if (this.#server === undefined) return;
    const port = Number(new URL(this.#server.place.endpoint).port);
    await waitUntil("the end of the killed server", GONE_LIMIT_MILLIS, async () => !await isListening(port));
  }

  #say(what: string): void {
    if (!this.#ending) process.stderr.write(`s3 ${this.#kind}: ${what}\n`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The ends of all logs in a folder. */
function logTails(folder: string): string {
  return readdirSync(folder).filter((name) => name.endsWith(".log")).map((name) =>
    `-- ${name}\n${readFileSync(join(folder, name), "utf8").slice(-LOG_TAIL_CHARS)}`
  ).join("\n");
}

function answer(line: HostLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function main(kind: S3Kind): Promise<void> {
  const began = performance.now();
  const host = new Host(kind);
  const end = () => void host.end().finally(() => process.exit(0));
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, end);
  const lines = createInterface({ input: process.stdin });
  lines.on("close", end);
  let work: Promise<void> = host.start().then(
    (place) => answer({ event: "ready", place, seconds: (performance.now() - began) / 1000 }),
    (error: unknown) => {
      const why = messageOf(error);
      answer(error instanceof Unavailable ? { event: "unavailable", why } : { event: "trouble", why });
    },
  );
  lines.on("line", (line) => {
    const command = line.trim();
    if (command === "stop") return end();
    work = work.then(() => host.command(command)).then(
      () => answer({ event: "done", command }),
      (error: unknown) => answer({ event: "trouble", why: messageOf(error) }),
    );
  });
  await work;
}

if (import.meta.main !== false) await main(process.argv[2] === "r2" ? "r2" : "rgw");
