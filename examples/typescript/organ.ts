// An organ's back office: it takes new cases out of its inbox, accepts, examines, grants and closes each, and ends after
// so many.
//
//   node dist/organ.js DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES
import { PassThrough } from "node:stream";
import { anyUnpack, durationFromMs, type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { v5 } from "uuid";
import { call, mayPass, metadata, mutualTls, pause, reason } from "./calls.js";
import { type Application, Step_Result } from "./gen/ronghe/case/v1/case_pb.js";
import { DepartmentService } from "./gen/ronghe/department/v1/department_service_pb.js";
import { SubmittedSchema } from "./gen/ronghe/event/v1/event_pb.js";
import { type InboxItem, InboxService } from "./gen/ronghe/inbox/v1/inbox_service_pb.js";

const [address, pki, organ, cases] = process.argv.slice(2);
if (cases === undefined) throw new Error("usage: organ.js DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES");
const transport = mutualTls(address, pki, organ);
const inbox = createClient(InboxService, transport);
const department = createClient(DepartmentService, transport);
// Cases that are through: an item whose acknowledgement was lost comes again. A real office keeps them on disk.
const done = new Set<string>();
let left = Number(cases);

for (let attempt = 0; left > 0; attempt++) {
  try {
    await session();
  } catch (error) {
    // SESSION_TAKEN_OVER, for one, does not pass: to open the inbox again would only take it back.
    if (!mayPass(error)) throw error;
    console.error("the inbox is lost:", String(error));
    await pause(attempt, error);
  }
}

/** One stream of the inbox. Items that it has not acknowledged when it is lost are given to the next one. */
async function session(): Promise<void> {
  const requests = new PassThrough({ objectMode: true });
  requests.write({ message: { case: "open", value: { credit: 100 } } });
  for await (const response of inbox.openInbox(requests)) {
    for (const item of response.items) {
      if (left > 0) requests.write({ message: { case: "acknowledge", value: await take(item) } });
    }
    // When the server has stored the last acknowledgement it ends its side too.
    if (left === 0) requests.end();
  }
}

/** Acts on an item, then acknowledges it. What needs a person is put off, and the later items of its case with it. */
async function take({ sequence, since, event }: InboxItem): Promise<object> {
  const fact = anyUnpack(event!.fact!, SubmittedSchema);
  if (fact && !done.has(event!.caseId)) {
    try {
      await grant(fact.application!, later(since!, fact.occurredAt!));
    } catch (error) {
      if (reason(error) !== "ILLEGAL_STATE") {
        console.log(fact.application!.caseNo, "put off:", reason(error), String(error));
        return { nacks: [{ sequence, delay: durationFromMs(3_600_000) }] };
      }
      console.log(fact.application!.caseNo, "has ended without us:", String(error));
    }
    done.add(event!.caseId);
    left--;
  }
  return { sequences: [sequence] };
}

/**
 * Does the four acts. After a restart all requests are the same, with their ids and times: what is done already is
 * answered as before and not done twice.
 *
 * `now` is the legal time of the acts. A real office stores when its officer acted before it sends it; here it is when
 * the item came into the inbox, or when the applicant says he submitted, where his clock was ahead.
 */
async function grant({ caseId, caseNo }: Application, now: Timestamp): Promise<void> {
  const actor = { id: "ts-1", name: "经办人" };
  const act = (name: string) => ({ requestId: v5(name, caseId), actor, occurredAt: now, caseId });

  const collaboration = { case: "none" as const, value: { reason: "无需其他部门协同" } };
  const { receipt } = await call(department.acceptApplication, { ...act("accept"), collaboration });
  console.log(caseNo, "accepted:", receipt!.number);

  const step = { name: "审查", result: Step_Result.PASSED, startedAt: now, endedAt: now };
  const { version } = await call(department.recordStep, { ...act("step"), step });
  console.log(caseNo, "step recorded");

  const granted = { case: "granted" as const, value: { certificateNumber: `TS-${caseNo}` } };
  // A decision rests on a version of the case. It is part of the id: on another version it is another decision.
  const decide = (ifVersion: bigint) =>
    call(department.decideApplication, { ...act(`decide on ${ifVersion}`), ifVersion, decision: granted });
  const { decision } = await decide(version).catch((error) => {
    if (reason(error) !== "CASE_CHANGED") throw error;
    // The officer looks at what has come in the meantime; this one is not impressed.
    console.log(caseNo, "has changed:", metadata(error).events);
    return decide(BigInt(metadata(error).version));
  });
  console.log(caseNo, "granted:", decision!.number);

  await call(department.closeCase, act("close"));
  console.log(caseNo, "closed");
}

function later(one: Timestamp, other: Timestamp): Timestamp {
  return timestampMs(one) < timestampMs(other) ? other : one;
}
