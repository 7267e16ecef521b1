/** What an agent's refusals are to the checks of a driver behind it. */
import { OpPrereqError } from "@gannet/errors";

/**
 * An agent refuses some requests before a driver sees them: for a check that expects a driver's refusal it is one.
 * @param refusal - the driver's own class of error
 */
export async function asRefusal<Result>(
  refusal: new (message: string) => Error,
  call: () => Promise<Result>,
): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof OpPrereqError) throw new refusal(error.message);
    throw error;
  }
}
