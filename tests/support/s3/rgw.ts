/**
 * Ceph's S3 gateway on loopback: one monitor, one OSD on a file, one RADOS gateway, nothing replicated, no cephx.
 *
 * Everything lies in one folder and runs in the foreground as a child of this process.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { freePorts, isListening, type Processes, waitUntil } from "./processes.ts";
import { type RunnableServer, TEST_ACCOUNT } from "./server.ts";

/** Size of the sparse file that the OSD keeps its objects in, bytes. */
const DISK_BYTES = 8 * 2 ** 30;
const START_LIMIT_MILLIS = 60_000;
const USER = "phyllite";

interface Ports {
  readonly gateway: number;
  /** The monitor's two protocols. */
  readonly monitor: number;
  readonly monitorOld: number;
}

type Section = Readonly<Record<string, string | number | boolean>>;

/** The settings file: sections of `name = value`. */
function configuration(folder: string, cluster: string, { gateway, monitor, monitorOld }: Ports): string {
  const sections: Readonly<Record<string, Section>> = {
    global: {
      fsid: cluster,
      mon_initial_members: "a",
      mon_host: `[v2:127.0.0.1:${monitor},v1:127.0.0.1:${monitorOld}]`,
      public_addr: "127.0.0.1",
      public_network: "127.0.0.0/8",
      cluster_network: "127.0.0.0/8",
      ms_bind_ipv6: false,
      auth_cluster_required: "none",
      auth_service_required: "none",
      auth_client_required: "none",
      run_dir: folder,
      crash_dir: folder,
      pid_file: "",
      // A socket's path may not be as long as the path of a temporary folder can be.
      admin_socket: "",
      log_file: join(folder, "$name.log"),
      mon_cluster_log_file: join(folder, "cluster.log"),
      log_to_stderr: false,
      // A single copy on a single disk.
      osd_crush_chooseleaf_type: 0,
      osd_crush_initial_weight: 1,
      osd_pool_default_size: 1,
      osd_pool_default_min_size: 1,
      osd_pool_default_pg_num: 8,
      osd_pool_default_pgp_num: 8,
      osd_pool_default_pg_autoscale_mode: "off",
      mon_allow_pool_size_one: true,
      mon_warn_on_pool_no_redundancy: false,
      // A monitor without peers need not gather changes for a second, nor keep a dead OSD up for want of others.
      paxos_propose_interval: 0.05,
      mon_osd_min_up_ratio: 0,
    },
    mon: { mon_data: join(folder, "mon"), mon_data_avail_warn: 2, mon_data_avail_crit: 1 },
    osd: {
      osd_data: join(folder, "osd"),
      osd_objectstore: "bluestore",
      bluestore_block_create: true,
      bluestore_block_size: DISK_BYTES,
      osd_memory_target: 2 ** 30,
    },
    client: { log_file: "" },
    "client.rgw": {
      log_file: join(folder, "gateway.log"),
      rgw_data: join(folder, "gateway"),
      // Small answers wait 40 ms for a delayed acknowledgement without tcp_nodelay.
      rgw_frontends: `beast endpoint=127.0.0.1:${gateway} tcp_nodelay=1`,
      // The gateway asks for cephx and an encrypted session unless told not to.
      ms_mon_client_mode: "crc",
      auth_client_required: "none",
      rgw_enable_usage_log: false,
      rgw_enable_ops_log: false,
    },
  };
  return Object.entries(sections).map(([name, settings]) =>
    [`[${name}]`, ...Object.entries(settings).map(([key, value]) => `${key} = ${value}`), ""].join("\n")
  ).join("\n");
}

/** Prepares a cluster in the empty folder `folder`. */
export async function rgwServer(folder: string, processes: Processes): Promise<RunnableServer> {
  const [gateway, monitor, monitorOld] = await freePorts(3) as [number, number, number];
  const ports: Ports = { gateway, monitor, monitorOld };
  const endpoint = `http://127.0.0.1:${gateway}`;
  const place = { kind: "rgw", endpoint, region: "us-east-1", ifMatchEtag: "unquoted", ...TEST_ACCOUNT } as const;
  const cluster = new Cluster(folder, ports, processes);
  let isNew = true;
  const run = async () => {
    await cluster.start(isNew);
    if (isNew) {
      await cluster.makeUser();
      await makeBucket(endpoint);
    }
    isNew = false;
  };
  return { place, run };
}

class Cluster {
  readonly #folder: string;
  readonly #ports: Ports;
  readonly #processes: Processes;
  readonly #conf: string;
  readonly #id = randomUUID();

  constructor(folder: string, ports: Ports, processes: Processes) {
    this.#folder = folder;
    this.#ports = ports;
    this.#processes = processes;
    this.#conf = join(folder, "ceph.conf");
  }

  /** Starts what does not run: monitor, OSD, gateway, in this order. */
  async start(isNew: boolean): Promise<void> {
    if (isNew) await this.#makeMonitor();
    if (!this.#processes.runs("ceph-mon")) this.#start("ceph-mon", ["-f", "-i", "a"]);
    if (isNew) await this.#makeDisk();
    if (!this.#processes.runs("ceph-osd")) {
      // After a kill the monitor takes the OSD for alive, and a gateway that believes it waits 10 s for the dead one.
      if (!isNew) await this.#tool("ceph", ["osd", "down", "0"]);
      this.#start("ceph-osd", ["-f", "-i", "0"]);
    }
    // A gateway that starts before its OSD is up looks again only after 5 s.
    await waitUntil("the OSD", START_LIMIT_MILLIS, async () => {
      const { output } = await this.#processes.tool("ceph", ["-c", this.#conf, "osd", "stat"], START_LIMIT_MILLIS);
      return /\b1 up\b/.test(output);
    });
    if (!this.#processes.runs("radosgw")) this.#start("radosgw", ["-f", "-n", "client.rgw"]);
    await waitUntil("an answer of the gateway", START_LIMIT_MILLIS, async () => {
      if (!this.#processes.runs("radosgw")) throw new Error("the gateway ended while it started");
      return await isListening(this.#ports.gateway) && await answers(`http://127.0.0.1:${this.#ports.gateway}/`);
    });
  }

  async makeUser(): Promise<void> {
    const { accessKeyId, secretAccessKey } = TEST_ACCOUNT;
    const user = [`--uid=${USER}`, `--display-name=${USER}`];
    const keys = [`--access-key=${accessKeyId}`, `--secret=${secretAccessKey}`];
    await this.#tool("radosgw-admin", ["user", "create", ...user, ...keys]);
  }

  async #makeMonitor(): Promise<void> {
    for (const part of ["mon", "osd", "gateway"]) mkdirSync(join(this.#folder, part), { recursive: true });
    writeFileSync(this.#conf, configuration(this.#folder, this.#id, this.#ports));
    const { monitor, monitorOld } = this.#ports;
    const map = join(this.#folder, "monmap");
    const address = `[v2:127.0.0.1:${monitor},v1:127.0.0.1:${monitorOld}]`;
    await this.#processes.mustRun("monmaptool", ["--create", "--fsid", this.#id, "--addv", "a", address, map]);
    await this.#tool("ceph-mon", ["-i", "a", "--mkfs", "--monmap", map]);
  }

  async #makeDisk(): Promise<void> {
    const id = randomUUID();
    await this.#tool("ceph", ["osd", "new", id]);
    await this.#tool("ceph-osd", ["-i", "0", "--mkfs", "--osd-uuid", id]);
  }

  #tool(command: string, args: readonly string[]): Promise<void> {
    return this.#processes.mustRun(command, ["-c", this.#conf, ...args], START_LIMIT_MILLIS);
  }

  #start(command: string, args: readonly string[]): void {
    this.#processes.start(command, command, ["-c", this.#conf, ...args], join(this.#folder, `${command}.output.log`));
  }
}

/** Whether a server answers at all, no matter what. */
export async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.body?.cancel();
    return true;
  } catch {
    return false;
  }
}

/** Makes the bucket; a gateway that has only just started may refuse at first. */
async function makeBucket(endpoint: string): Promise<void> {
  const { bucket, accessKeyId, secretAccessKey } = TEST_ACCOUNT;
  const client = new S3Client({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
  });
  let trouble: unknown;
  try {
    await waitUntil(
      "the bucket",
      START_LIMIT_MILLIS,
      () =>
        client.send(new CreateBucketCommand({ Bucket: bucket })).then(() => true, (error: unknown) => {
          trouble = error;
          return false;
        }),
    );
  } catch (error) {
    throw new Error(`${error}: ${trouble}`);
  } finally {
    client.destroy();
  }
}
