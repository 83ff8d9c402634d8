/**
 * Stands between a client and an S3 server and does to their requests what networks and busy services do.
 *
 * ```ts
 * const proxy = await startFaultProxy(place.endpoint);
 * proxy.plan = ({ method }) => method === "PUT" ? { kind: "drop-answer" } : undefined;
 * // … a store whose endpoint is proxy.endpoint …
 * await proxy.close();
 * ```
 *
 * The name of the host that the client signed is passed on, so signatures stay good. Nothing here draws chances: the plan
 * does, from whatever seed it likes.
 *
 * @module
 */
import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** What happens to a request. */
export type ProxyFault =
  /** The connection ends before the server hears of it. */
  | { readonly kind: "drop" }
  /** The server does what it is asked, and the connection ends before the answer. */
  | { readonly kind: "drop-answer" }
  /** The body of the answer ends in the middle; its length was announced. */
  | { readonly kind: "cut" }
  /** The service answers so, without doing anything. */
  | { readonly kind: "status"; readonly status: 403 | 429 | 500 | 503 }
  /** Goes on after a pause. */
  | { readonly kind: "delay"; readonly millis: number };

/** A request, as a plan sees it. */
export interface ProxiedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
}

/** Decides about each request; undefined = it goes through. */
export type ProxyPlan = (request: ProxiedRequest) => ProxyFault | undefined;

const CODES: Readonly<Record<number, string>> = {
  403: "InvalidAccessKeyId",
  429: "TooManyRequests",
  500: "InternalError",
  503: "SlowDown",
};

/** A running proxy. */
export class FaultProxy {
  /** What it does to requests; nothing when undefined. */
  plan: ProxyPlan | undefined = undefined;
  /** Requests so far. */
  requests = 0;
  /** How often each kind of fault has struck. */
  readonly struck: Record<string, number> = {};
  readonly #upstream: URL;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #server: Server;

  private constructor(upstream: URL) {
    this.#upstream = upstream;
    this.#server = createServer((asked, answer) => {
      this.#handle(asked, answer).catch(() => asked.socket.destroy());
    });
  }

  /** Starts one on a free port of the loopback. */
  static async start(upstream: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(new URL(upstream));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** Where clients reach it; the same path as that of the server. */
  get endpoint(): string {
    const { port } = this.#server.address() as AddressInfo;
    const { protocol, pathname } = this.#upstream;
    return `${protocol}//127.0.0.1:${port}${pathname === "/" ? "" : pathname}`;
  }

  /** Ends it and every connection. */
  async close(): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #handle(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    this.requests++;
    const { method = "GET", url = "/" } = asked;
    const fault = this.plan?.({ method, url });
    if (fault !== undefined) this.struck[fault.kind] = (this.struck[fault.kind] ?? 0) + 1;
    // Read whole, so that a client that sends is never taken for one that hangs.
    const chunks: Uint8Array[] = [];
    for await (const chunk of asked) chunks.push(chunk as Uint8Array);
    if (fault?.kind === "drop") return void asked.socket.destroy();
    if (fault?.kind === "status") return this.#refuse(fault.status, method, answer);
    if (fault?.kind === "delay") await pause(fault.millis);
    const { status, headers, body } = await this.#forward(asked, Buffer.concat(chunks));
    if (fault?.kind === "drop-answer") return void asked.socket.destroy();
    if (answer.destroyed) return;
    answer.writeHead(status, headers);
    if (fault?.kind !== "cut" || body.length < 2) return void answer.end(body);
    answer.write(body.subarray(0, body.length >> 1), () => asked.socket.destroy());
  }

  #refuse(status: number, method: string, answer: ServerResponse): void {
    const code = CODES[status]!;
    const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>planned</Message></Error>`;
    answer.writeHead(status, { "content-type": "application/xml", "content-length": body.length });
    answer.end(method === "HEAD" ? undefined : body);
  }

  #forward(asked: IncomingMessage, body: Uint8Array): Promise<Forwarded> {
    const { hostname, port } = this.#upstream;
    return new Promise((resolve, reject) => {
      const { method = "GET", url = "/", headers } = asked;
      const read = async (answer: IncomingMessage): Promise<Forwarded> => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of answer) chunks.push(chunk as Uint8Array);
        return { status: answer.statusCode ?? 500, headers: answer.headers, body: Buffer.concat(chunks) };
      };
      const sent = request(
        { hostname, port, method, path: url, headers, agent: this.#agent },
        (answer) => void read(answer).then(resolve, reject),
      );
      sent.on("error", reject);
      sent.end(body);
    });
  }
}

interface Forwarded {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Uint8Array;
}
