package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// open makes a channel that asks a silent server for a sign of life: a stream has no deadline, and would wait for good
// where the network was cut without a word.
func open(address, pki, id string) (*grpc.ClientConn, error) {
	pings := keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
	return grpc.NewClient(address, grpc.WithTransportCredentials(mutualTLS(pki, id)), grpc.WithKeepaliveParams(pings))
}

// mutualTLS shows the organ's certificate, and takes the server's when the same authority has issued it.
func mutualTLS(pki, id string) credentials.TransportCredentials {
	path := filepath.Join(pki, "organ", id)
	certificate, err := tls.LoadX509KeyPair(path+".pem", path+".key")
	if err != nil {
		log.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.pem"))
	if err != nil {
		log.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(ca)
	return credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: authorities})
}

// call makes a call until it has an answer. Its request is the same each time, with the same id: it has one effect.
func call[Q, A any](method func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) (A, error) {
	for attempt := 0; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		answer, err := method(ctx, request)
		cancel()
		if err == nil || !mayPass(err) {
			return answer, err
		}
		pause(attempt, err)
	}
}

// mayPass says whether the same call may succeed later.
func mayPass(err error) bool {
	switch reason(err) {
	case "OVERLOADED", "STORE_UNAVAILABLE", "SHUTTING_DOWN", "DEADLINE_EXCEEDED":
		return true
	case "": // nobody answered; codes.Canceled: a server that stopped meanwhile
		code := status.Code(err)
		return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
	}
	return false
}

// pause waits longer each time, and at least as long as the server says. Chance keeps clients from marching in step.
func pause(attempt int, err error) {
	longest := min(100*time.Millisecond<<min(attempt, 10), 5*time.Second)
	time.Sleep(max(longest/2+rand.N(longest/2), detail[*errdetails.RetryInfo](err).GetRetryDelay().AsDuration()))
}

// reason is a name of ronghe.error.v1.Reason; empty when it was not ronghe that answered.
func reason(err error) string { return detail[*errdetails.ErrorInfo](err).GetReason() }

func metadata(err error) map[string]string { return detail[*errdetails.ErrorInfo](err).GetMetadata() }

// detail is what a failed call says of this type, or nil.
func detail[D any](err error) (found D) {
	for _, each := range status.Convert(err).Details() {
		if match, is := each.(D); is {
			found = match
		}
	}
	return found
}
