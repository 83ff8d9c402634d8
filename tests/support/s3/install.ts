/**
 * Brings the programs of the S3 servers onto this machine: Ceph from the distribution by apt, Miniflare by npm into a
 * cache folder outside the repository.
 *
 * What cannot be had here (no apt, no right to use it, no way to the mirror or the registry) is {@linkcode Unavailable}:
 * tests that need it are left out. Every other trouble is an ordinary error, which fails a test run.
 *
 * Invariants: a half-finished installation is never used (npm's is made under another name, then renamed).
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { cacheFolder } from "../interop_binding.ts";
import { isInstalled, type Processes } from "./processes.ts";

/** A server that cannot be had on this machine, through no fault of ours. */
export class Unavailable extends Error {}

const CEPH_PROGRAMS = ["ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"];
const CEPH_PACKAGES = ["ceph-mon", "ceph-osd", "radosgw", "ceph-common"];
/** The 4.x line has no S3 API, and npm would choose an old release under an old Node. */
const MINIFLARE = "5.20261117.0-beta";
/** The Node that is installed beside Miniflare where the machine's own is older than 22.18. */
const NODE = "22.23.3";
const INSTALL_LIMIT_MILLIS = 5 * 60_000;

/** What apt says when it cannot reach a mirror, knows no such package, or may not work. */
const APT_UNREACHABLE =
  /Unable to locate package|has no installation candidate|Unable to fetch|Failed to fetch|Could not (?:resolve|connect)|Temporary failure|a password is required|are you root|Permission denied/i;
/** What npm says when it cannot reach the registry. */
const NPM_UNREACHABLE =
  /\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|E40[137]|E5\d\d|ENOTCACHED)\b/;

/** Whether a failed installation only says that there is no way to what is installed. */
export function isUnreachable(program: "apt" | "npm", output: string): boolean {
  return (program === "apt" ? APT_UNREACHABLE : NPM_UNREACHABLE).test(output);
}

/** Installs Ceph unless it is there. Takes about 20 s and fetches 70 MB. */
export async function installCeph(processes: Processes, say: (what: string) => void): Promise<void> {
  if (CEPH_PROGRAMS.every(isInstalled)) return;
  if (!isInstalled("apt-get")) {
    throw new Unavailable("Ceph is not installed and there is no apt-get to install it with");
  }
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && !isInstalled("sudo")) throw new Unavailable("Ceph is not installed, which needs root or sudo");
  const apt = (args: readonly string[]) => {
    const line = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", ...args];
    return isRoot ? processes.spared("env", line) : processes.spared("sudo", ["-n", "env", ...line]);
  };
  say(`apt-get install ${CEPH_PACKAGES.join(" ")}`);
  const update = await apt(["update"]);
  const install = await apt(["install", "-y", "--no-install-recommends", ...CEPH_PACKAGES]);
  if (install.code === 0 && CEPH_PROGRAMS.every(isInstalled)) return;
  const said = `${update.output}\n${install.output}`.trim().slice(-1500);
  if (isUnreachable("apt", said)) throw new Unavailable(`apt cannot install Ceph: ${reasonLine("apt", said)}`);
  throw new Error(`apt-get install ended with code ${install.code}: ${said}`);
}

/** Where Miniflare is, and the Node that runs it. */
export interface MiniflareInstallation {
  /** A folder with `node_modules/miniflare` inside. */
  readonly folder: string;
  readonly node: string;
}

/** Installs Miniflare unless it is there. Takes about 10 s and 400 MB of disk. */
export async function installMiniflare(
  processes: Processes,
  say: (what: string) => void,
): Promise<MiniflareInstallation> {
  const folder = join(cacheFolder(), `miniflare-${MINIFLARE}`);
  const ownNode = join("node_modules", "node", "bin", "node");
  const found = (): MiniflareInstallation => {
    const own = join(folder, ownNode);
    return { folder, node: existsSync(own) ? own : "node" };
  };
  if (existsSync(join(folder, "node_modules", "miniflare"))) return found();
  const fresh = `${folder}.new-${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  try {
    writeFileSync(join(fresh, "package.json"), '{ "private": true }\n');
    const packages = [`miniflare@${MINIFLARE}`, ...(nodeStripsTypes() ? [] : [`node@${NODE}`])];
    say(`npm install ${packages.join(" ")}`);
    const { code, output } = await processes.tool(
      "npm",
      ["install", "--prefix", fresh, "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1", ...packages],
      INSTALL_LIMIT_MILLIS,
    );
    if (code !== 0) {
      const said = output.trim().slice(-1500);
      if (isUnreachable("npm", said)) throw new Unavailable(`npm cannot install Miniflare: ${reasonLine("npm", said)}`);
      throw new Error(`npm install ended with code ${code}: ${said}`);
    }
    try {
      renameSync(fresh, folder);
    } catch (error) {
      // Another run was faster; its folder is as good.
      if (!existsSync(join(folder, "node_modules", "miniflare"))) throw error;
    }
    return found();
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** Whether the machine's own Node runs TypeScript files. */
function nodeStripsTypes(): boolean {
  const { status, stdout } = spawnSync("node", ["--version"], { encoding: "utf8" });
  const [major = 0, minor = 0] = (stdout ?? "").replace("v", "").split(".").map(Number);
  return status === 0 && (major > 22 || (major === 22 && minor >= 18));
}

/** The line of an output that says what cannot be reached. */
function reasonLine(program: "apt" | "npm", output: string): string {
  return output.split("\n").find((line) => isUnreachable(program, line))?.trim() ?? output;
}
