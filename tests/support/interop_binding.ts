/**
 * Brings the official SlateDB binding, `@slatedb/uniffi` 0.12.1, onto this machine: into a cache folder outside the
 * repository, so that neither the lock file nor `node_modules` ever knows of it.
 *
 * The folder is `$XDG_CACHE_HOME/phyllite`, else `~/.cache/phyllite`, else one in the temporary folder. Only
 * `--interop` calls this; tests find the folder in `PHYLLITE_INTEROP` and skip themselves when it is not set.
 *
 * Invariants: a half-finished installation is never used (it is made under another name, then renamed).
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** The release whose files we write. */
export const BINDING_VERSION = "0.12.1";

/** Where the binding is, or why it is not. */
export interface Binding {
  /** A folder with `node_modules/@slatedb/uniffi` inside. */
  readonly folder: string | undefined;
  readonly trouble: string | undefined;
}

/** The module file of an installed binding, below the folder that {@linkcode installBinding} answers. */
export function bindingEntry(folder: string): string {
  return join(folder, "node_modules", "@slatedb", "uniffi", "index.js");
}

/** The folder for what is installed beside the repository, made when it is missing. */
export function cacheFolder(): string {
  const candidates = [process.env["XDG_CACHE_HOME"], join(homedir(), ".cache"), tmpdir()];
  for (const candidate of candidates) {
    if (candidate === undefined || candidate === "") continue;
    const folder = join(candidate, "phyllite");
    try {
      mkdirSync(folder, { recursive: true });
      return folder;
    } catch {
      // Not writable: the next one.
    }
  }
  return tmpdir();
}

/** Installs the binding unless it is there already. Takes some seconds and 130 MB the first time. */
export function installBinding(): Binding {
  const folder = join(cacheFolder(), `slatedb-uniffi-${BINDING_VERSION}`);
  if (existsSync(bindingEntry(folder))) return { folder, trouble: undefined };
  const fresh = `${folder}.new-${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  writeFileSync(join(fresh, "package.json"), '{ "private": true, "type": "module" }\n');
  const npm = spawnSync(
    "npm",
    ["install", "--no-audit", "--no-fund", "--loglevel=error", `@slatedb/uniffi@${BINDING_VERSION}`],
    { cwd: fresh, encoding: "utf8" },
  );
  if (npm.status !== 0 || !existsSync(bindingEntry(fresh))) {
    rmSync(fresh, { recursive: true, force: true });
    const said = npm.error?.message ?? `${npm.stdout ?? ""}${npm.stderr ?? ""}`.trim().slice(-500);
    return { folder: undefined, trouble: `cannot install @slatedb/uniffi ${BINDING_VERSION}: ${said}` };
  }
  rmSync(folder, { recursive: true, force: true });
  try {
    renameSync(fresh, folder);
  } catch (error) {
    // Another run was faster; its folder is as good.
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(bindingEntry(folder))) return { folder: undefined, trouble: String(error) };
  }
  return { folder, trouble: undefined };
}
