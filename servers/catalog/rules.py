"""What a collaborator rule means."""

from ronghe.catalog.v1.catalog_pb2 import SILENCE_POLICY_BLOCK, Collaborator


def is_required(rule: Collaborator) -> bool:
    """Whether the law requires an express answer: the case is not granted without it.

    A basis alone does not make a rule required: it may be no more than the law that lets the lead ask.
    """
    return rule.silence_policy == SILENCE_POLICY_BLOCK
