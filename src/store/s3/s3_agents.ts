/**
 * Connections to S3, kept for reuse, bounded in number, each request sent on one of them once (invariant N1).
 *
 * Deno's `node:http` sends a request again by itself when the kept connection it went out on ends before the answer,
 * even when it was we who ended it (denoland/deno#31932, #36786). A conditional create sent twice is refused by its own
 * object, and an aborted write arrives after all: both would break what the engine knows of its writes. Deno does so
 * only for requests that say they go out on a used connection; so none of ours says it. Node and Bun never resend.
 *
 * @module
 */
import { Agent as HttpAgent, type AgentOptions, type ClientRequest } from "node:http";
import { Agent as HttpsAgent } from "node:https";

type Reuse = HttpAgent["reuseSocket"];

function sentOnce(reuse: Reuse): Reuse {
  return function (this: HttpAgent, socket, request: ClientRequest): void {
    reuse.call(this, socket, request);
    request.reusedSocket = false;
  };
}

class PlainAgent extends HttpAgent {
  override reuseSocket: Reuse = sentOnce(HttpAgent.prototype.reuseSocket);
}

class TlsAgent extends HttpsAgent {
  override reuseSocket: Reuse = sentOnce(HttpsAgent.prototype.reuseSocket);
}

/** Agents for both protocols, with at most `connections` connections to a host. */
export function keptConnections(
  connections: number,
): { readonly httpAgent: HttpAgent; readonly httpsAgent: HttpsAgent } {
  const options: AgentOptions = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections };
  return { httpAgent: new PlainAgent(options), httpsAgent: new TlsAgent(options) };
}
