/**
 * What goes wrong in the command line itself, with the exit code that belongs to it.
 *
 * Exit codes: 0 done; 1 it failed, or what was asked for is not there; 2 the command line makes no sense.
 *
 * @module
 */

/** The command line makes no sense: exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command ran and could not do what was asked: exit code 1. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  /** Machine-readable kind, as the `reason` of the engine's errors. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Nobody reads the output any more (EPIPE): the command ends, successfully. */
export class OutputClosed extends Error {
  override readonly name = "OutputClosed";
}
