/**
 * The program that serves R2: `node r2_program.ts '<settings as JSON>'`. Runs on Node with Miniflare, which is found in
 * the folder that the settings name.
 *
 * @module
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

interface Settings {
  /** Folder with `node_modules/miniflare`. */
  readonly packages: string;
  /** Folder for the objects. */
  readonly data: string;
  readonly port: number;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** What is used of Miniflare. */
interface MiniflareModule {
  readonly Miniflare: new (options: unknown) => { readonly ready: Promise<unknown> };
  readonly convertV4MiniflareOptions: (options: unknown) => unknown;
}

const { packages, data, port, bucket, accessKeyId, secretAccessKey } = JSON.parse(process.argv[2] ?? "{}") as Settings;
const entry = createRequire(join(packages, "package.json")).resolve("miniflare");
const loaded = await import(pathToFileURL(entry).href) as MiniflareModule & { readonly default?: MiniflareModule };
const { Miniflare, convertV4MiniflareOptions } = loaded.default ?? loaded;
const server = new Miniflare(convertV4MiniflareOptions({
  host: "127.0.0.1",
  port,
  resourcePersistencePath: data,
  // Would be fetched from the network.
  cf: false,
  telemetry: { enabled: false },
  modules: true,
  script: "export default { fetch: () => new Response(null, { status: 404 }) };",
  compatibilityDate: "2026-11-01",
  r2Buckets: { TEST: { id: bucket, s3Credentials: { accessKeyId, secretAccessKey } } },
}));
await server.ready;
