/**
 * Programs that the S3 servers for tests are made of: started, waited for, killed.
 *
 * Invariants: everything is a child of this process and is killed by its own id, together with the process group that
 * it leads, so that a program's own children (workerd) go with it; nothing is ever looked up by name. After `killAll`
 * nothing new starts.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, closeSync, constants, openSync } from "node:fs";
import { connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import process from "node:process";

/** How a program that is expected to end was started, and what came of it. */
export interface ToolResult {
  readonly code: number | null;
  /** Standard output and error, interleaved. */
  readonly output: string;
}

/** How long a killed program may take until it is gone, ms. */
const GONE_LIMIT_MILLIS = 15_000;

/** The programs of one server. */
export class Processes {
  readonly #running = new Map<string, ChildProcess>();
  readonly #tools = new Set<ChildProcess>();
  /** Tools that may not be killed. */
  readonly #spared = new Set<Promise<unknown>>();
  /** Ends of the running programs that nobody asked for. */
  readonly #onDeath: (name: string, how: string) => void;
  #closed = false;

  constructor(onDeath: (name: string, how: string) => void) {
    this.#onDeath = onDeath;
  }

  /** Starts a program that stays, in a process group of its own, with its output appended to the file `log`. */
  start(name: string, command: string, args: readonly string[], log: string, env: Record<string, string> = {}): void {
    if (this.#closed) throw new Error("stopping");
    const output = openSync(log, "a");
    const child = spawn(command, args, {
      stdio: ["ignore", output, output],
      detached: true,
      env: { ...process.env, ...env },
    });
    closeSync(output);
    this.#running.set(name, child);
    child.on("error", (error) => this.#died(name, child, error.message));
    child.on("exit", (code, signal) => this.#died(name, child, `ended (${code ?? signal}), see ${log}`));
  }

  /** Whether the program `name` runs. */
  runs(name: string): boolean {
    return this.#running.has(name);
  }

  /** Runs a program to its end. @param limitMillis it is killed after that; such an end has no code */
  async tool(command: string, args: readonly string[], limitMillis: number): Promise<ToolResult> {
    return await this.#run(command, args, limitMillis, this.#tools);
  }

  /** Runs a program that must not be killed in the middle of its work, such as apt. */
  async spared(command: string, args: readonly string[]): Promise<ToolResult> {
    const result = this.#run(command, args, undefined, new Set());
    this.#spared.add(result);
    return await result.finally(() => this.#spared.delete(result));
  }

  #run(
    command: string,
    args: readonly string[],
    limitMillis: number | undefined,
    tools: Set<ChildProcess>,
  ): Promise<ToolResult> {
    if (this.#closed) return Promise.reject(new Error("stopping"));
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
      tools.add(child);
      let output = "";
      const limit = limitMillis === undefined ? undefined : setTimeout(() => killGroup(child), limitMillis);
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Uint8Array) => void (output += Buffer.from(chunk).toString()));
      }
      child.on("error", (error) => {
        clearTimeout(limit);
        tools.delete(child);
        reject(error);
      });
      child.on("close", (code) => {
        clearTimeout(limit);
        tools.delete(child);
        resolve({ code, output });
      });
    });
  }

  /** Like {@linkcode tool}, but anything but success is an error that tells what the program said. */
  async mustRun(command: string, args: readonly string[], limitMillis: number = 60_000): Promise<void> {
    const { code, output } = await this.tool(command, args, limitMillis);
    if (code === 0) return;
    const how = code === null ? "was killed or took too long" : `ended with code ${code}`;
    throw new Error(`${command} ${args.join(" ")} ${how}: ${output.trim().slice(-2000)}`);
  }

  /** Kills every program that stays, all at the same moment, and waits until they are gone. */
  async kill(): Promise<void> {
    const children = [...this.#running.values()];
    this.#running.clear();
    for (const child of children) killGroup(child);
    const end = Date.now() + GONE_LIMIT_MILLIS;
    while (children.some((child) => child.pid !== undefined && child.exitCode === null && child.signalCode === null)) {
      if (Date.now() > end) throw new Error("a killed server does not end");
      await pause(10);
    }
  }

  /** Kills everything at once, tools too, and lets nothing start any more; resolves when all is gone. */
  async killAll(): Promise<void> {
    this.#closed = true;
    for (const child of this.#tools) killGroup(child);
    await this.kill();
    // Spared programs end by themselves.
    await Promise.allSettled(this.#spared);
  }

  #died(name: string, child: ChildProcess, how: string): void {
    if (this.#running.get(name) !== child) return;
    this.#running.delete(name);
    // What it had started goes too.
    killGroup(child);
    this.#onDeath(name, how);
  }
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It is gone.
  }
}

/** Whether `command` is found on the search path. */
export function isInstalled(command: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Resolves after `millis`. */
export function pause(millis: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

/** Asks `isSo` ten times a second until it answers true. @throws after `limitMillis`, with `what` in the message */
export async function waitUntil(
  what: string,
  limitMillis: number,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  for (const end = Date.now() + limitMillis; !await isSo();) {
    if (Date.now() > end) throw new Error(`waited ${limitMillis / 1000} s in vain: ${what}`);
    await pause(50);
  }
}

/** `count` ports of 127.0.0.1 that are free now. Somebody else may take one before it is used. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve, reject) => {
      server.on("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("a server on a port has no port");
    ports.push(address.port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Whether somebody listens on `port` of 127.0.0.1. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const answer = (listening: boolean) => {
      socket.destroy();
      resolve(listening);
    };
    socket.on("connect", () => answer(true));
    socket.on("error", () => answer(false));
  });
}
