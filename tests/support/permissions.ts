/**
 * What this test run may do. Bun and Node may do everything; `deno test` without flags may do nothing, and the tests
 * that need more skip themselves and say so.
 *
 * @module
 */

interface DenoPermissions {
  readonly permissions: { querySync(descriptor: { name: string }): { state: string } };
}

function granted(name: string): boolean {
  const deno = (globalThis as { Deno?: DenoPermissions }).Deno;
  return deno === undefined || deno.permissions.querySync({ name }).state === "granted";
}

/** Whether files may be read and written. */
export function canUseDisk(): boolean {
  return granted("read") && granted("write");
}

/** Whether a server may be run on this machine and asked, and the environment read, as the AWS SDK does. */
export function canUseNetwork(): boolean {
  return granted("net") && granted("env") && granted("sys") && canUseDisk();
}

/** Whether the environment and child processes may be used. */
export function canRunPrograms(): boolean {
  return granted("run") && granted("env") && canUseDisk();
}

/** Whether variables of the environment may be read. */
export function canReadEnvironment(): boolean {
  return granted("env");
}
