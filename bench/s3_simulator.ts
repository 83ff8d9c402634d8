/**
 * The counting S3 simulator of the side-by-side driver, as a process, and what it has counted.
 *
 * It counts by verb, and by kind of object, which it reads off the path: a database's own name must not hold one of
 * those words. PUT-class requests (a put, each step of an upload in parts, a copy) are `put` and `copy`.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { runArguments, type RuntimeBinary } from "./programs.ts";

/** Requests of one kind of object, or of all. */
export interface Counts {
  readonly get?: number;
  readonly getBytes?: number;
  readonly put?: number;
  readonly putBytes?: number;
  readonly head?: number;
  readonly list?: number;
  readonly delete?: number;
  readonly copy?: number;
  /** Those of `put` that are steps of an upload in parts. */
  readonly multipart?: number;
}

/** Everything counted since the start. */
export interface Counted extends Required<Counts> {
  /** By "manifest", "compactions", "compacted", "wal", "gc", "other". */
  readonly byKind: Readonly<Record<string, Counts>>;
}

/** A running simulator. */
export interface Simulator {
  readonly endpoint: string;
  stop(): void;
}

/** Starts the simulator that lies beside the driver, without latency. */
export function startSimulator(folder: string, runtime: Pick<RuntimeBinary, "name" | "path">): Promise<Simulator> {
  return new Promise((resolve, reject) => {
    const args = runArguments(runtime, join(folder, "s3sim.mjs"));
    const child = spawn(runtime.path, args, { stdio: ["ignore", "pipe", "inherit"] });
    child.on("error", reject);
    child.on("close", (code) => reject(new Error(`the simulator ended with code ${code}`)));
    child.stdout.once("data", (said) => {
      const { port } = JSON.parse(String(said)) as { port: number };
      resolve({ endpoint: `http://127.0.0.1:${port}`, stop: () => void child.kill() });
    });
  });
}

/** What the simulator has counted so far. */
export async function counted(endpoint: string): Promise<Counted> {
  return await (await fetch(`${endpoint}/__stats`)).json() as Counted;
}

/** Changes how long its answers take, ms. */
export async function setLatency(endpoint: string, getMillis: number, putMillis: number): Promise<void> {
  await (await fetch(`${endpoint}/__latency?get=${getMillis}&put=${putMillis}`, { method: "POST" })).text();
}

/** Requests and bytes between two looks. */
export interface Spent {
  /** All but deletions, which cost nothing. */
  readonly requests: number;
  /** PUT-class requests. */
  readonly puts: number;
  readonly putBytes: number;
  /** GET and HEAD. */
  readonly gets: number;
  readonly getBytes: number;
  readonly lists: number;
  readonly multipart: number;
}

/**
 * The difference of two looks.
 *
 * @param kind of one kind of object; of all when absent
 */
export function spent(before: Counted, after: Counted, kind?: "wal" | "compacted"): Spent {
  const [from, to] = kind === undefined ? [before, after] : [before.byKind[kind] ?? {}, after.byKind[kind] ?? {}];
  const grown = (name: keyof Counts): number => (to[name] ?? 0) - (from[name] ?? 0);
  const puts = grown("put") + grown("copy");
  const gets = grown("get") + grown("head");
  const lists = grown("list");
  return {
    requests: puts + gets + lists,
    puts,
    putBytes: grown("putBytes"),
    gets,
    getBytes: grown("getBytes"),
    lists,
    multipart: grown("multipart"),
  };
}
