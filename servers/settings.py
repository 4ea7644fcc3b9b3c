"""Settings of one subsystem's process: read once, from the environment, strict."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import make_url

from bridge.kafka import KafkaAccess
from bridge.settings import BridgeSettings
from clients.telemetry.store import LEAST_STORE_BYTES, STORE_BYTES
from ronghe.operations.v1.operations_service_pb2 import GetSettingsResponse


class SubsystemSettings(BaseSettings):
    """Each is an environment variable: RONGHE_ and the name in capitals, RONGHE_BRIDGE__<NAME> for the bridge's."""

    # An error does not repeat what it found: among it may be a password.
    model_config = SettingsConfigDict(
        env_prefix="RONGHE_", env_nested_delimiter="__", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    origin: str = Field(pattern=r"^(intake|governance|department)-[0-9]{2}$", description="this deployment's name")
    instance: str = Field(default="", description="name of this process in files, where the deployment has replicas")
    database_url: str = Field(description="SQLite or PostgreSQL, as an SQLAlchemy URL")
    listen: str = Field(default="127.0.0.1:0", description="address and port of the gRPC server")
    pki: Path = Field(description="folder with ca.pem and service/<origin>.pem, .key")
    secret: Path = Field(description="file with the deployment's key, 32 bytes or more, shared by its replicas")
    peer: str = Field(default="", description="addresses of the subsystem whose inbox is pulled, separated by commas")
    peer_origin: str = Field(default="", description="name of the deployment whose inbox is pulled")
    kafka: str = Field(default="", description="Kafka bootstrap servers; intake needs them after a restore only")
    spans: Path = Field(description="folder of the local span store, used while no OTLP endpoint is set")
    span_bytes: int = Field(
        default=STORE_BYTES,
        ge=LEAST_STORE_BYTES,
        description="how much of it this process fills at most, in bytes; the oldest spans go first",
    )
    log: Path | None = Field(default=None, description="log file; standard output when absent")
    sampling: float = Field(default=1.0, ge=0, le=1, description="share of cases that are traced")
    stepped_clock: bool = Field(default=False, description="a simulation: operators may advance the clock")
    head_seconds: float = Field(
        default=60, gt=0, description="how often the journal's head is signed and told to the others, while it grows"
    )
    intakes: Mapping[str, str] = Field(
        default={}, description="names of the intake systems by id, as they stand on vouchers"
    )
    bridge: BridgeSettings = Field(default_factory=BridgeSettings, description="the five measures of the channel")

    @property
    def process(self) -> str:
        """What files of this process alone are named after."""
        return self.instance or self.origin

    def kafka_access(self) -> KafkaAccess:
        """How this service reaches the brokers."""
        certificate = self.pki / "service" / f"{self.origin}.pem"
        return KafkaAccess(self.kafka, self.pki / "ca.pem", certificate)

    def shown(self) -> Sequence[GetSettingsResponse.Setting]:
        """The settings in force, as operators see them; a database password is hidden."""
        return [*_shown(self, ""), *_shown(self.bridge, "bridge.")]


def _shown(settings: BaseModel, prefix: str) -> Iterator[GetSettingsResponse.Setting]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            continue
        yield GetSettingsResponse.Setting(
            name=f"{prefix}{name}",
            value=_without_password(value) if name == "database_url" else str(value),
            default_value="" if field.is_required() else str(field.get_default(call_default_factory=True)),
            description=field.description or "",
        )


def _without_password(url: str) -> str:
    """The driver takes passwords among the parameters as well."""
    found = make_url(url)
    query = {name: "hidden" if "password" in name else value for name, value in found.query.items()}
    return found.set(query=query).render_as_string(hide_password=True)
