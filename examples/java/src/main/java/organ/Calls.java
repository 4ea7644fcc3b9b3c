package organ;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractStub;
import java.io.File;
import java.io.IOException;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** What every client needs: mutual TLS, reasons of failures, and calls that are repeated until they are answered. */
final class Calls {
    /** A unary method of a stub. */
    interface Method<S, Q, A> {
        A call(S stub, Q request) throws StatusException;
    }

    /** Codes without a reason. UNKNOWN: of a connection that breaks while it is written to (grpc-java, issue 10120). */
    private static final Set<Status.Code> NOBODY_ANSWERED =
        Set.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED, Status.Code.CANCELLED, Status.Code.UNKNOWN);

    private Calls() {}

    /**
     * Shows the organ's certificate, and takes the server's when the same authority has issued it. A server that is
     * silent is asked for a sign of life: a stream has no deadline, and would wait for good on a network that was cut.
     */
    static ManagedChannel open(String address, String pki, String organ) throws IOException {
        var credentials = TlsChannelCredentials.newBuilder()
            .trustManager(new File(pki, "ca.pem"))
            .keyManager(new File(pki, "organ/" + organ + ".pem"), new File(pki, "organ/" + organ + ".key"))
            .build();
        return Grpc.newChannelBuilder(address, credentials)
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .build();
    }

    /** Makes a call until it has an answer. Its request is the same each time, with the same id: it has one effect. */
    static <S extends AbstractStub<S>, Q, A> A call(S stub, Method<S, Q, A> method, Q request)
            throws StatusException, InterruptedException {
        for (int attempt = 0; ; attempt++) {
            try {
                return method.call(stub.withDeadlineAfter(10, TimeUnit.SECONDS), request);
            } catch (StatusException failure) {
                if (!mayPass(failure)) {
                    throw failure;
                }
                pause(attempt, failure);
            }
        }
    }

    /** Whether the same call may succeed later. */
    static boolean mayPass(StatusException failure) {
        var code = failure.getStatus().getCode();
        return switch (reason(failure)) {
            case "OVERLOADED", "STORE_UNAVAILABLE", "SHUTTING_DOWN", "DEADLINE_EXCEEDED" -> true;
            case "" -> NOBODY_ANSWERED.contains(code);
            default -> false;
        };
    }

    /** Waits longer each time, and at least as long as the server says. Chance keeps clients from marching in step. */
    static void pause(int attempt, StatusException failure) throws InterruptedException {
        var longest = Math.min(100L << Math.min(attempt, 10), 5_000);
        var asked = detail(failure, RetryInfo.getDefaultInstance()).getRetryDelay();
        var chance = ThreadLocalRandom.current().nextLong(longest / 2, longest);
        Thread.sleep(Math.max(chance, asked.getSeconds() * 1_000 + asked.getNanos() / 1_000_000));
    }

    /** A name of ronghe.error.v1.Reason; empty when it was not ronghe that answered. */
    static String reason(StatusException failure) {
        return detail(failure, ErrorInfo.getDefaultInstance()).getReason();
    }

    /** What goes with the reason; the contract tells what each has. */
    static Map<String, String> metadata(StatusException failure) {
        return detail(failure, ErrorInfo.getDefaultInstance()).getMetadataMap();
    }

    /** What a failed call says of the same type, or else what is given. */
    @SuppressWarnings("unchecked")
    private static <M extends Message> M detail(StatusException failure, M otherwise) {
        for (Any each : StatusProto.fromThrowable(failure).getDetailsList()) {
            if (each.is(otherwise.getClass())) {
                try {
                    return (M) each.unpack(otherwise.getClass());
                } catch (InvalidProtocolBufferException unreadable) {
                    return otherwise;
                }
            }
        }
        return otherwise;
    }
}
