"""How the bridge is doing, as operators are shown it."""

from bridge.consumer import ConsumerState
from bridge.inbox_source import SourceState
from bridge.relay import RelayState
from bridge.settings import BridgeSettings
from ronghe.operations.v1 import operations_service_pb2 as pb


def show_relay(state: RelayState, head: int, status: pb.GetBridgeStatusResponse) -> None:
    """The relay's part; `head` is the journal's last position."""
    relay = status.relay
    relay.position, relay.last_error = state.position, state.last_error
    relay.lag = max(0, head - max(state.position, state.looked))
    if state.oldest_waiting is not None:
        relay.oldest_waiting.FromDatetime(state.oldest_waiting)
    if state.last_error_at is not None:
        relay.last_error_at.FromDatetime(state.last_error_at)


def show_consumer(state: ConsumerState, settings: BridgeSettings, status: pb.GetBridgeStatusResponse) -> None:
    """The consumer's part, a line for each partition."""
    for partition, offset in sorted(state.next_offsets.items()):
        status.consumers.add(
            topic=settings.topic,
            partition=partition,
            next_offset=offset,
            lag=state.lags.get(partition, -1),
            last_error=state.last_error,
            lost=state.lost.get(partition, 0),
        )


def show_source(peer: str, state: SourceState, status: pb.GetBridgeStatusResponse) -> None:
    """An inbox source's part."""
    status.sources.add(
        peer=peer, connected=state.connected, last_sequence=state.last_sequence, last_error=state.last_error
    )
