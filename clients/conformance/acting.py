"""Checks on how a program acts: its commands, their ids and their repetitions."""

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from clients.conformance.judge import Check, Look
from clients.conformance.scenes import Scene
from clients.conformance.seen import Call, Seen

# Clocks are read at both ends of a call, and timers fire a little early.
LEEWAY = 0.9
ENDS = ("RefuseAcceptance", "CloseCase")
REPEATED = ("", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")


def repeats_to_the_letter(seen: Seen) -> Look:
    """A call without an answer is repeated with the same id and the same body."""
    look = Look()
    for calls in _acts(seen).values():
        for first, again in pairwise(calls):
            if not first.is_unanswered or first.if_version != again.if_version:
                continue
            if first.request_id != again.request_id:
                look.note(
                    f"{first.method} of {first.subject} got no answer, and was sent again under another request_id"
                )
            elif first.body != again.body:
                look.note(f"{first.method} of {first.subject} was sent again under its request_id with another body")
            else:
                look.note("")
    look.hint = "no command was sent again after its answer was lost"
    return look


def repeats_what_got_no_answer(seen: Seen) -> Look:
    """Or reads what became of it."""
    look = Look()
    for calls in _acts(seen).values():
        for call in calls:
            if call.code in REPEATED:
                later = any(each.subject == call.subject and each.at > call.at for each in seen.calls)
                look.note("" if later else f"{call.method} of {call.subject} got no answer, and was never repeated")
    look.hint = "every command was answered"
    return look


def waits_as_it_is_told(seen: Seen) -> Look:
    """RetryInfo says how long."""
    look = Look()
    for calls in _acts(seen).values():
        for first, again in pairwise(calls):
            if first.retry_after is not None:
                waited = again.at - first.done_at
                told = f"{first.method} was sent again after {waited:.1f} s, and RetryInfo said {first.retry_after} s"
                look.note("" if waited >= LEEWAY * first.retry_after else told)
    look.hint = "no command was sent again after a RetryInfo"
    return look


def keeps_the_order_of_a_case(seen: Seen) -> Look:
    """Each act waits for the answer to the one before it."""
    look = Look()
    for case_id, scene in seen.cases.items():
        calls = list(seen.commands(case_id))
        if scene is Scene.WITHDRAWN or len(calls) < 2:
            continue
        early = [call for call in calls if call.reason == "ILLEGAL_STATE" and not _was_done(calls, call)]
        look.note(f"{early[0].method} of case {case_id} came before the case had got so far" if early else "")
    return look


def _was_done(calls: list[Call], late: Call) -> bool:
    """Whether the case had ended, or this act had been done, when the call came."""
    before = [call for call in calls if call.at < late.at and call.took_effect]
    return any(call.method in (*ENDS, late.method) for call in before)


def lets_refusals_stand(seen: Seen) -> Look:
    """What was refused is refused again."""
    look, refused = Look(), defaultdict(list)
    for call in seen.commands():
        if call.code not in (*REPEATED, "OK", "ABORTED"):
            refused[call.method, call.subject].append(call)
    for (method, subject), calls in refused.items():
        # Each time the item comes the program may find out anew.
        allowed = 1 + len(seen.givings(subject)) + len(seen.exits)
        told = f"{method} of {subject} was sent {len(calls)} times, and refused each time with {calls[-1].reason}"
        look.note(told if len(calls) > allowed else "")
    look.hint = "no command was refused"
    return look


def sends_valid_requests(seen: Seen) -> Look:
    """By the contract's rules."""
    look = Look()
    for call in seen.commands():
        if call.code:
            invalid = call.code == "INVALID_ARGUMENT" and call.reason != "OCCURRED_AT_OUT_OF_RANGE"
            look.note(f"{call.method}: {call.reason}: {call.message}" if invalid else "")
    return look


def tells_the_time_of_the_act(seen: Seen) -> Look:
    """Within what the server takes."""
    look = Look()
    for call in seen.commands():
        if call.code:
            wrong = call.reason == "OCCURRED_AT_OUT_OF_RANGE"
            look.note(f"{call.method}: {call.message}" if wrong else "")
    return look


def gives_deadlines(seen: Seen) -> Look:
    """To every call."""
    look = Look()
    for call in seen.calls:
        look.note("" if call.has_deadline else f"{call.method} was called without a deadline")
    return look


def signs_before_it_answers(seen: Seen) -> Look:
    """A task is signed for, then answered."""
    look = Look()
    for call in seen.commands():
        if call.method == "AnswerTask":
            before = (each for each in seen.commands(call.subject) if each.took_effect and each.at < call.at)
            signed = any(each.method == "SignForTask" for each in before)
            look.note("" if signed else f"task {call.subject} was answered, and not signed for")
    look.hint = "the program answered no task"
    return look


def _acts(seen: Seen) -> Mapping[tuple[str, bytes], list[Call]]:
    """Commands by what they do, in order."""
    found = defaultdict(list)
    for call in seen.commands():
        found[call.subject, call.what].append(call)
    return found


CHECKS = (
    Check(
        "repeats-to-the-letter",
        "a call without an answer is repeated with the same request_id and body",
        "§5",
        repeats_to_the_letter,
    ),
    Check(
        "repeats-what-got-no-answer",
        "it finds out what became of a call without an answer",
        "§5",
        repeats_what_got_no_answer,
    ),
    Check("waits-as-it-is-told", "a repetition waits at least as long as RetryInfo says", "§5", waits_as_it_is_told),
    Check("lets-refusals-stand", "what was refused is not sent again and again", "§5", lets_refusals_stand),
    Check(
        "keeps-the-order-of-a-case",
        "an act on a case is sent when the one before it is answered",
        "§4, point 2",
        keeps_the_order_of_a_case,
    ),
    Check("sends-valid-requests", "requests keep the contract's rules", "§6", sends_valid_requests),
    Check(
        "tells-the-time-of-the-act",
        "occurred_at is when the officer acted, and no later than now",
        "§5",
        tells_the_time_of_the_act,
    ),
    Check("gives-deadlines", "every call has a deadline", "§5", gives_deadlines),
    Check("signs-before-it-answers", "a task is signed for before it is answered", "§4", signs_before_it_answers),
)
