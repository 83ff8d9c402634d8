/**
 * Real S3 servers for tests, on loopback: Ceph's gateway ("rgw") and Cloudflare's local R2 ("r2").
 *
 * ```ts
 * const server = await startS3("rgw");
 * // … server.endpoint, server.bucket …
 * await server.crash();
 * await server.stop();
 * ```
 *
 * A server is kept by a program of its own (`tests/support/s3/host.ts`), which ends it when this process ends in
 * whatever way. Installing takes 10 to 30 s the first time, a start 2 s (r2) or 6 s (rgw).
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { HostLine } from "./s3/host.ts";
import type { S3Kind, S3Place } from "./s3/server.ts";

export type { S3Kind, S3Place } from "./s3/server.ts";

/** Both kinds, the slow one first. */
export const S3_KINDS: readonly S3Kind[] = ["rgw", "r2"];

/** A server that was started here. */
export interface S3Server extends S3Place {
  /** How to reach it, without the handle; fit for JSON. */
  readonly place: S3Place;
  /** What installing and starting took. */
  readonly seconds: number;
  /** Kills every process of it (SIGKILL, all at the same moment); the data stays. */
  readonly kill: () => Promise<void>;
  /** Starts it again on the same data and port, and waits until it answers. */
  readonly restart: () => Promise<void>;
  /** Kills and restarts it. */
  readonly crash: () => Promise<void>;
  /** Ends it and removes its data. Safe to call twice, and while a command is under way. */
  readonly stop: () => Promise<void>;
}

/** The server cannot be had on this machine: tests that need it are left out. */
export class S3Unavailable extends Error {}

/** Time for a server to end. */
const STOP_LIMIT_MILLIS = 20_000;
const HOST = fileURLToPath(new URL("./s3/host.ts", import.meta.url));

/** The program that keeps a server, as this process talks to it. */
class HostProgram {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #waiting: Array<(line: HostLine) => void> = [];
  #over = false;

  constructor(kind: S3Kind) {
    const args = "Deno" in globalThis ? ["run", "-A", "--no-check", HOST, kind] : [HOST, kind];
    this.#child = spawn(process.execPath, args, {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    this.#ended = new Promise((resolve) => {
      const over = (why: string) => {
        this.#over = true;
        for (const answered of this.#waiting.splice(0)) answered({ event: "trouble", why });
        resolve();
      };
      this.#child.on("error", (error) => over(`its program cannot start: ${error.message}`));
      this.#child.on("exit", (code, signal) => over(`its program has ended (${code ?? signal})`));
    });
    this.#child.stdin!.on("error", () => {});
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      this.#waiting.shift()?.(JSON.parse(line) as HostLine);
    });
  }

  /** The next line. */
  answer(): Promise<HostLine> {
    if (this.#over) return Promise.resolve({ event: "trouble", why: "its program has ended" });
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  async command(command: "kill" | "start"): Promise<void> {
    const answered = this.answer();
    this.#child.stdin!.write(`${command}\n`);
    const line = await answered;
    if (line.event !== "done") throw new Error(`${command}: ${"why" in line ? line.why : line.event}`);
  }

  /** Closes its input, which ends it, and waits for that; insists when that takes long. */
  async stop(): Promise<void> {
    if (!this.#over) this.#child.stdin!.end();
    const insist = setTimeout(() => this.#child.kill("SIGTERM"), STOP_LIMIT_MILLIS);
    const giveUp = setTimeout(() => this.#child.kill("SIGKILL"), 2 * STOP_LIMIT_MILLIS);
    await this.#ended;
    clearTimeout(insist);
    clearTimeout(giveUp);
  }
}

/**
 * Starts a server, installing it first where it is missing.
 *
 * @throws S3Unavailable when it cannot be had here
 */
export async function startS3(kind: S3Kind): Promise<S3Server> {
  const host = new HostProgram(kind);
  const line = await host.answer();
  if (line.event !== "ready") {
    await host.stop();
    if (line.event === "unavailable") throw new S3Unavailable(line.why);
    throw new Error(`Cannot start the S3 server ${kind}: ${line.event === "trouble" ? line.why : line.event}`);
  }
  return {
    ...line.place,
    place: line.place,
    seconds: line.seconds,
    kill: () => host.command("kill"),
    restart: () => host.command("start"),
    crash: async () => {
      await host.command("kill");
      await host.command("start");
    },
    stop: () => host.stop(),
  };
}
