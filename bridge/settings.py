"""The bridge's settings: the five measures of the real-time channel, each a named choice with its default."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TOPIC = "ronghe.cases.v1"
PARTITIONS = 12
RETENTION_MS = 30 * 24 * 3600 * 1000


class BridgeSettings(BaseModel):
    """How events are carried; docs/bridge.md explains each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str = Field(default=TOPIC, description="the one topic")

    # Retry on failure (失败重试).
    retry_first_seconds: float = Field(default=0.2, gt=0, description="retry: pause after the first failure")
    retry_longest_seconds: float = Field(default=5.0, gt=0, description="retry: longest pause between attempts")
    acknowledge_seconds: float = Field(
        default=10.0, gt=0, description="retry: an attempt that is not acknowledged for so long is begun anew"
    )
    check_seconds: float = Field(
        default=5.0, gt=0, description="retry: how often the topic is checked for lost records"
    )

    # Asynchronous sending (异步发送).
    in_flight: int = Field(default=5, ge=1, le=5, description="asynchronous: requests under way to a broker")
    queued_messages: int = Field(default=10_000, ge=100, description="asynchronous: records waiting in the producer")

    # Thread safety (线程安全): one producer a process, handed records by one relay; see docs/bridge.md.
    poll_seconds: float = Field(default=0.05, gt=0, le=1, description="threads: how long a client's thread waits")

    # Batching (批量处理).
    relay_batch: int = Field(default=500, ge=1, description="batching: rows of one publishing pass")
    relay_bytes: int = Field(default=8 << 20, ge=1, description="batching: bytes of one publishing pass")
    consume_batch: int = Field(default=500, ge=1, description="batching: records of one transaction")
    linger_ms: float = Field(default=1.0, ge=0, description="batching: how long the producer waits for more")
    pace_seconds: float = Field(default=0.020, ge=0, description="batching: least time between passes under load")
    fetch_min_bytes: int = Field(default=1, ge=1, description="batching: a fetch is answered with so much, or")
    fetch_wait_ms: int = Field(default=500, ge=1, description="batching: after so long")
    compression: Literal["none", "lz4", "zstd"] = Field(default="lz4", description="batching: compression of a batch")

    # Partition strategy (分区策略): by case, with the partitioner Java clients use.
    partitioner: Literal["murmur2_random"] = Field(
        default="murmur2_random", description="partitions: by case id, as Java clients do"
    )
    partitions: int = Field(default=PARTITIONS, ge=1, description="partitions: fixed when the topic is made")

    checkpoint_rows: int = Field(default=1_000, ge=1, description="rows between checkpoints of what was published")
