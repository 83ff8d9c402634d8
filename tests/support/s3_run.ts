/**
 * The S3 servers of one test run: started together while other tests run, stopped at its end.
 *
 * Invariants: a server that cannot be had on this machine is left out with a loud line; one that can be had and does not
 * start is a failure.
 *
 * @module
 */
import { S3_KINDS, type S3Kind, type S3Server, S3Unavailable, startS3 } from "./s3_servers.ts";

/** The variable in which tests find the servers: a JSON list of `S3Place`. */
export const S3_VARIABLE = "PHYLLITE_S3";

/** Both servers, as far as they can be had. */
export class ServersForRun {
  readonly #started: Promise<void>;
  readonly #servers: S3Server[] = [];
  readonly #say: (line: string) => void;
  #troubles = 0;

  /** @param start starts one server */
  constructor(
    start: (kind: S3Kind) => Promise<S3Server> = startS3,
    say: (line: string) => void = (line) => console.log(line),
  ) {
    this.#say = say;
    this.#started = Promise.all(S3_KINDS.map((kind) => this.#start(kind, start))).then(() => {
      if (this.#servers.length === 0) say("S3 TESTS ARE LEFT OUT: there is no server to run them on");
    });
  }

  /** The variables of the tests once all servers answer; undefined when there is none. */
  async environment(): Promise<Readonly<Record<string, string>> | undefined> {
    await this.#started;
    if (this.#servers.length === 0) return undefined;
    return { [S3_VARIABLE]: JSON.stringify(this.#servers.map((server) => server.place)) };
  }

  /** Ends the servers and answers how many did not start although they can be had here. */
  async stop(): Promise<number> {
    await this.#started;
    await Promise.all(this.#servers.splice(0).map((server) => server.stop()));
    return this.#troubles;
  }

  async #start(kind: S3Kind, start: (kind: S3Kind) => Promise<S3Server>): Promise<void> {
    try {
      const server = await start(kind);
      this.#servers.push(server);
      this.#servers.sort((a, b) => S3_KINDS.indexOf(a.kind) - S3_KINDS.indexOf(b.kind));
      this.#say(`s3 ${kind}: ready after ${server.seconds.toFixed(1)} s`);
    } catch (error) {
      if (error instanceof S3Unavailable) return this.#say(`S3 SERVER ${kind} IS LEFT OUT: ${error.message}`);
      this.#troubles++;
      this.#say(`s3 ${kind}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
