// Command organ is an organ's back office: it takes new cases out of its inbox, accepts, examines, grants and closes
// each, and ends after so many.
//
//	organ DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	casev1 "ronghe.example/organ/gen/ronghe/case/v1"
	departmentv1 "ronghe.example/organ/gen/ronghe/department/v1"
	eventv1 "ronghe.example/organ/gen/ronghe/event/v1"
	inboxv1 "ronghe.example/organ/gen/ronghe/inbox/v1"
	partyv1 "ronghe.example/organ/gen/ronghe/party/v1"
)

type organ struct {
	inbox      inboxv1.InboxServiceClient
	department departmentv1.DepartmentServiceClient
	officer    *partyv1.Officer
	left       int
	// Cases that are through: an item whose acknowledgement was lost comes again. A real office keeps them on disk.
	done map[string]bool
}

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: organ DEPARTMENT-ADDRESS PKI-FOLDER ORGAN-ID CASES")
	}
	cases, err := strconv.Atoi(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	channel, err := open(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	o := organ{
		inboxv1.NewInboxServiceClient(channel), departmentv1.NewDepartmentServiceClient(channel),
		&partyv1.Officer{Id: "go-1", Name: "经办人"}, cases, map[string]bool{},
	}
	for attempt := 0; o.left > 0; attempt++ {
		// SESSION_TAKEN_OVER, for one, does not pass: to open the inbox again would only take it back.
		if err := o.session(); err != nil && !mayPass(err) {
			log.Fatal(err)
		} else if err != nil {
			log.Println("the inbox is lost:", err)
			pause(attempt, err)
		}
	}
}

// session is one stream of the inbox. Items that it has not acknowledged when it is lost are given to the next one.
func (o *organ) session() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := o.inbox.OpenInbox(ctx)
	if err != nil {
		return err
	}
	open := &inboxv1.OpenInboxRequest_Open{Credit: 100}
	// Errors of Send are left alone: that the stream has ended, and why, is for Recv to tell.
	_ = stream.Send(&inboxv1.OpenInboxRequest{Message: &inboxv1.OpenInboxRequest_Open_{Open: open}})
	for o.left > 0 {
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, item := range message.Items {
			if o.left > 0 {
				said := &inboxv1.OpenInboxRequest_Acknowledge_{Acknowledge: o.take(item)}
				_ = stream.Send(&inboxv1.OpenInboxRequest{Message: said})
			}
		}
	}
	// When the server has stored the last acknowledgement it ends its side too.
	_ = stream.CloseSend()
	for err == nil {
		_, err = stream.Recv()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// take acts on an item, then acknowledges it. What needs a person is put off, and the later items of its case with it.
func (o *organ) take(item *inboxv1.InboxItem) *inboxv1.OpenInboxRequest_Acknowledge {
	fact := &eventv1.Submitted{}
	if item.Event.Fact.UnmarshalTo(fact) == nil && !o.done[item.Event.CaseId] {
		err := o.grant(fact.Application, timeOf(item, fact))
		if err != nil && reason(err) != "ILLEGAL_STATE" {
			fmt.Println(fact.Application.CaseNo, "put off:", reason(err), err)
			nack := &inboxv1.Nack{Sequence: item.Sequence, Delay: durationpb.New(time.Hour)}
			return &inboxv1.OpenInboxRequest_Acknowledge{Nacks: []*inboxv1.Nack{nack}}
		}
		if err != nil {
			fmt.Println(fact.Application.CaseNo, "has ended without us:", err)
		}
		o.done[item.Event.CaseId] = true
		o.left--
	}
	return &inboxv1.OpenInboxRequest_Acknowledge{Sequences: []uint64{item.Sequence}}
}

// grant does the four acts. After a restart all requests are the same, with their ids and times: what is done already
// is answered as before and not done twice.
func (o *organ) grant(application *casev1.Application, now *timestamppb.Timestamp) error {
	id, no := application.CaseId, application.CaseNo
	none := &departmentv1.AcceptApplicationRequest_NoCollaboration{Reason: "无需其他部门协同"}
	accepted, err := call(o.department.AcceptApplication, &departmentv1.AcceptApplicationRequest{
		RequestId: requestID(id, "accept"), Actor: o.officer, OccurredAt: now, CaseId: id,
		Collaboration: &departmentv1.AcceptApplicationRequest_None{None: none},
	})
	if err != nil {
		return err
	}
	fmt.Println(no, "accepted:", accepted.Receipt.Number)

	recorded, err := call(o.department.RecordStep, &departmentv1.RecordStepRequest{
		RequestId: requestID(id, "step"), Actor: o.officer, OccurredAt: now, CaseId: id,
		Step: &casev1.Step{Name: "审查", Result: casev1.Step_RESULT_PASSED, StartedAt: now, EndedAt: now},
	})
	if err != nil {
		return err
	}
	fmt.Println(no, "step recorded")

	decided, err := o.decide(application, now, recorded.Version)
	if err != nil {
		return err
	}
	fmt.Println(no, "granted:", decided.Decision.Number)

	_, err = call(o.department.CloseCase, &departmentv1.CloseCaseRequest{
		RequestId: requestID(id, "close"), Actor: o.officer, OccurredAt: now, CaseId: id,
	})
	if err == nil {
		fmt.Println(no, "closed")
	}
	return err
}

// decide rests on a version of the case. The version is part of the request id: on another one it is another decision.
func (o *organ) decide(
	application *casev1.Application, now *timestamppb.Timestamp, version uint64,
) (*departmentv1.DecideApplicationResponse, error) {
	granted := &departmentv1.DecideApplicationRequest_Granted{CertificateNumber: "GO-" + application.CaseNo}
	decided, err := call(o.department.DecideApplication, &departmentv1.DecideApplicationRequest{
		RequestId: requestID(application.CaseId, fmt.Sprint("decide on ", version)), Actor: o.officer, OccurredAt: now,
		CaseId: application.CaseId, IfVersion: version,
		Decision: &departmentv1.DecideApplicationRequest_Granted_{Granted: granted},
	})
	if reason(err) != "CASE_CHANGED" {
		return decided, err
	}
	// The officer looks at what has come in the meantime; this one is not impressed.
	fmt.Println(application.CaseNo, "has changed:", metadata(err)["events"])
	version, err = strconv.ParseUint(metadata(err)["version"], 10, 64)
	if err != nil {
		return nil, err
	}
	return o.decide(application, now, version)
}

// requestID derives the id of an act on a case.
func requestID(caseID, act string) string {
	return uuid.NewSHA1(uuid.MustParse(caseID), []byte(act)).String()
}

// timeOf is the legal time of the acts. A real office stores when its officer acted before it sends it; here it is when
// the item came into the inbox, or when the applicant says he submitted, where his clock was ahead.
func timeOf(item *inboxv1.InboxItem, fact *eventv1.Submitted) *timestamppb.Timestamp {
	if item.Since.AsTime().Before(fact.OccurredAt.AsTime()) {
		return fact.OccurredAt
	}
	return item.Since
}
