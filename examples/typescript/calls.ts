// What every client needs: mutual TLS, reasons of failures, and calls that are repeated until they are answered.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { type CallOptions, Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/**
 * Shows the organ's certificate, and takes the server's when the same authority has issued it. A server that is silent
 * is asked for a sign of life: a stream has no deadline, and would wait for good on a network that was cut.
 */
export function mutualTls(address: string, pki: string, organ: string): Transport {
  const nodeOptions = {
    ca: readFileSync(join(pki, "ca.pem")),
    cert: readFileSync(join(pki, "organ", `${organ}.pem`)),
    key: readFileSync(join(pki, "organ", `${organ}.key`)),
  };
  const baseUrl = `https://${address}`;
  return createGrpcTransport({ baseUrl, nodeOptions, pingIntervalMs: 30_000, pingTimeoutMs: 10_000 });
}

/** Makes a call until it has an answer. Its request is the same each time, with the same id: it has one effect. */
export async function call<Q, A>(method: (request: Q, options: CallOptions) => Promise<A>, request: Q): Promise<A> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await method(request, { timeoutMs: 10_000 });
    } catch (error) {
      if (!mayPass(error)) throw error;
      await pause(attempt, error);
    }
  }
}

/** Whether the same call may succeed later. */
export function mayPass(error: unknown): boolean {
  switch (reason(error)) {
    case "OVERLOADED":
    case "STORE_UNAVAILABLE":
    case "SHUTTING_DOWN":
    case "DEADLINE_EXCEEDED":
      return true;
    case undefined: // nobody answered; a call that breaks off is "aborted", "canceled" or "unknown" here
      return [Code.Unavailable, Code.DeadlineExceeded, Code.Aborted, Code.Canceled, Code.Unknown].includes(
        ConnectError.from(error).code,
      );
    default:
      return false;
  }
}

/** Waits longer each time, and at least as long as the server says. Chance keeps clients from marching in step. */
export async function pause(attempt: number, error: unknown): Promise<void> {
  const longest = Math.min(100 * 2 ** attempt, 5_000);
  const [retry] = ConnectError.from(error).findDetails(RetryInfoSchema);
  const asked = retry?.retryDelay ? durationMs(retry.retryDelay) : 0;
  await setTimeout(Math.max(asked, longest * (0.5 + Math.random() / 2)));
}

/** A name of `ronghe.error.v1.Reason`; undefined when it was not ronghe that answered. */
export function reason(error: unknown): string | undefined {
  return info(error)?.reason;
}

/** What goes with the reason; the contract tells what each has. */
export function metadata(error: unknown): Record<string, string> {
  return info(error)?.metadata ?? {};
}

function info(error: unknown) {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0];
}
