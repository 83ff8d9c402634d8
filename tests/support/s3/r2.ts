/**
 * Cloudflare's R2 on loopback: Miniflare on workerd, through its S3 API.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MiniflareInstallation } from "./install.ts";
import { freePorts, isListening, type Processes, waitUntil } from "./processes.ts";
import { type RunnableServer, TEST_ACCOUNT } from "./server.ts";

const START_LIMIT_MILLIS = 60_000;
/** Below which path of the server the S3 API lies. */
const API_PATH = "/cdn-cgi/local/r2/s3";
const PROGRAM = fileURLToPath(new URL("./r2_program.ts", import.meta.url));

/** Prepares a server that keeps its data below the empty folder `folder`. */
export async function r2Server(
  folder: string,
  processes: Processes,
  installation: MiniflareInstallation,
): Promise<RunnableServer> {
  const [port] = await freePorts(1) as [number];
  const endpoint = `http://127.0.0.1:${port}${API_PATH}`;
  const data = join(folder, "data");
  mkdirSync(data);
  const settings = JSON.stringify({ packages: installation.folder, data, port, ...TEST_ACCOUNT });
  const run = async () => {
    const command = ["--no-warnings", PROGRAM, settings];
    // A killed Miniflare leaves temporary files behind: in the folder, which goes with the server.
    processes.start("miniflare", installation.node, command, join(folder, "r2.log"), { TMPDIR: folder });
    await waitUntil("an answer of Miniflare", START_LIMIT_MILLIS, () => {
      if (!processes.runs("miniflare")) throw new Error("Miniflare ended while it started");
      return isListening(port);
    });
  };
  const place = { kind: "r2", endpoint, region: "auto", ifMatchEtag: "quoted", ...TEST_ACCOUNT } as const;
  return { place, run };
}
