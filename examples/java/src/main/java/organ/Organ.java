package organ;

import com.google.protobuf.Duration;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Timestamp;
import io.grpc.Channel;
import io.grpc.StatusException;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import ronghe.cases.v1.Application;
import ronghe.cases.v1.Step;
import ronghe.department.v1.AcceptApplicationRequest;
import ronghe.department.v1.CloseCaseRequest;
import ronghe.department.v1.DecideApplicationRequest;
import ronghe.department.v1.DecideApplicationResponse;
import ronghe.department.v1.DepartmentServiceGrpc;
import ronghe.department.v1.DepartmentServiceGrpc.DepartmentServiceBlockingV2Stub;
import ronghe.department.v1.RecordStepRequest;
import ronghe.event.v1.Submitted;
import ronghe.inbox.v1.InboxItem;
import ronghe.inbox.v1.InboxServiceGrpc;
import ronghe.inbox.v1.InboxServiceGrpc.InboxServiceBlockingV2Stub;
import ronghe.inbox.v1.Nack;
import ronghe.inbox.v1.OpenInboxRequest;
import ronghe.inbox.v1.OpenInboxRequest.Acknowledge;
import ronghe.inbox.v1.OpenInboxRequest.Open;
import ronghe.party.v1.Officer;

/**
 * An organ's back office: it takes new cases out of its inbox, accepts, examines, grants and closes each, and ends
 * after so many.
 *
 * <pre>java -jar target/organ-1.jar DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES</pre>
 */
public final class Organ {
    private final InboxServiceBlockingV2Stub inbox;
    private final DepartmentServiceBlockingV2Stub department;
    private final Officer officer = Officer.newBuilder().setId("java-1").setName("经办人").build();
    /** Cases that are through: an item whose acknowledgement was lost comes again. A real office keeps them on disk. */
    private final Set<String> done = new HashSet<>();
    private int left;

    private Organ(Channel channel, int cases) {
        inbox = InboxServiceGrpc.newBlockingV2Stub(channel);
        department = DepartmentServiceGrpc.newBlockingV2Stub(channel);
        left = cases;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 4) {
            System.err.println("usage: Organ DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES");
            System.exit(1);
        }
        var channel = Calls.open(arguments[0], arguments[1], arguments[2]);
        new Organ(channel, Integer.parseInt(arguments[3])).work();
        channel.shutdown();
    }

    private void work() throws Exception {
        for (int attempt = 0; left > 0; attempt++) {
            try {
                session();
            } catch (StatusException lost) {
                // SESSION_TAKEN_OVER, for one, does not pass: to open the inbox again would only take it back.
                if (!Calls.mayPass(lost)) {
                    throw lost;
                }
                System.err.println("the inbox is lost: " + lost.getMessage());
                Calls.pause(attempt, lost);
            }
        }
    }

    /** One stream of the inbox. Items that it has not acknowledged when it is lost are given to the next one. */
    private void session() throws Exception {
        var stream = inbox.openInbox();
        stream.write(OpenInboxRequest.newBuilder().setOpen(Open.newBuilder().setCredit(100)).build());
        for (var message = stream.read(); message != null; message = stream.read()) {
            for (var item : message.getItemsList()) {
                if (left > 0) {
                    stream.write(OpenInboxRequest.newBuilder().setAcknowledge(take(item)).build());
                }
            }
            if (left == 0) {
                // When the server has stored the last acknowledgement it ends its side too.
                stream.halfClose();
            }
        }
    }

    /** Acts on an item, then acknowledges it. What needs a person is put off, and its case's later items with it. */
    private Acknowledge take(InboxItem item) throws InterruptedException, InvalidProtocolBufferException {
        var event = item.getEvent();
        if (event.getFact().is(Submitted.class) && !done.contains(event.getCaseId())) {
            var fact = event.getFact().unpack(Submitted.class);
            var no = fact.getApplication().getCaseNo();
            try {
                grant(fact.getApplication(), later(item.getSince(), fact.getOccurredAt()));
            } catch (StatusException refused) {
                if (!Calls.reason(refused).equals("ILLEGAL_STATE")) {
                    System.out.println(no + " put off: " + Calls.reason(refused) + " " + refused.getMessage());
                    var hour = Duration.newBuilder().setSeconds(3600);
                    var nack = Nack.newBuilder().setSequence(item.getSequence()).setDelay(hour);
                    return Acknowledge.newBuilder().addNacks(nack).build();
                }
                System.out.println(no + " has ended without us: " + refused.getMessage());
            }
            done.add(event.getCaseId());
            left--;
        }
        return Acknowledge.newBuilder().addSequences(item.getSequence()).build();
    }

    /**
     * Does the four acts. After a restart all requests are the same, with their ids and times: what is done already is
     * answered as before and not done twice.
     *
     * @param now the legal time of the acts. A real office stores when its officer acted before it sends it; here it is
     *     when the item came into the inbox, or when the applicant says he submitted, where his clock was ahead
     */
    private void grant(Application application, Timestamp now) throws StatusException, InterruptedException {
        String id = application.getCaseId(), no = application.getCaseNo();
        var none = AcceptApplicationRequest.NoCollaboration.newBuilder().setReason("无需其他部门协同");
        var accepted = Calls.call(department, DepartmentServiceBlockingV2Stub::acceptApplication,
            AcceptApplicationRequest.newBuilder()
                .setRequestId(requestId(id, "accept")).setActor(officer).setOccurredAt(now).setCaseId(id)
                .setNone(none).build());
        System.out.println(no + " accepted: " + accepted.getReceipt().getNumber());

        var step = Step.newBuilder().setName("审查").setResult(Step.Result.RESULT_PASSED);
        var recorded = Calls.call(department, DepartmentServiceBlockingV2Stub::recordStep,
            RecordStepRequest.newBuilder()
                .setRequestId(requestId(id, "step")).setActor(officer).setOccurredAt(now).setCaseId(id)
                .setStep(step.setStartedAt(now).setEndedAt(now)).build());
        System.out.println(no + " step recorded");

        var decided = decide(application, now, recorded.getVersion());
        System.out.println(no + " granted: " + decided.getDecision().getNumber());

        Calls.call(department, DepartmentServiceBlockingV2Stub::closeCase,
            CloseCaseRequest.newBuilder()
                .setRequestId(requestId(id, "close")).setActor(officer).setOccurredAt(now).setCaseId(id).build());
        System.out.println(no + " closed");
    }

    /** A decision rests on a version of the case. It is part of the id: on another version it is another decision. */
    private DecideApplicationResponse decide(Application application, Timestamp now, long version)
            throws StatusException, InterruptedException {
        String id = application.getCaseId(), no = application.getCaseNo();
        var granted = DecideApplicationRequest.Granted.newBuilder().setCertificateNumber("JAVA-" + no);
        try {
            return Calls.call(department, DepartmentServiceBlockingV2Stub::decideApplication,
                DecideApplicationRequest.newBuilder()
                    .setRequestId(requestId(id, "decide on " + version)).setActor(officer).setOccurredAt(now)
                    .setCaseId(id).setIfVersion(version).setGranted(granted).build());
        } catch (StatusException refused) {
            if (!Calls.reason(refused).equals("CASE_CHANGED")) {
                throw refused;
            }
            // The officer looks at what has come in the meantime; this one is not impressed.
            System.out.println(no + " has changed: " + Calls.metadata(refused).get("events"));
            return decide(application, now, Long.parseLong(Calls.metadata(refused).get("version")));
        }
    }

    /** Derives the id of an act on a case. */
    private static String requestId(String caseId, String act) {
        return UUID.nameUUIDFromBytes((caseId + " " + act).getBytes()).toString();
    }

    private static Timestamp later(Timestamp one, Timestamp other) {
        var order = Comparator.comparingLong(Timestamp::getSeconds).thenComparingInt(Timestamp::getNanos);
        return order.compare(one, other) < 0 ? other : one;
    }
}
