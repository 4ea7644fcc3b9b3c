"""Settings of a mesh: the command line, then RONGHE_MESH_ variables, then `<data>/settings.toml`, then defaults."""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from bridge.settings import BridgeSettings
from servers.mesh.errors import MeshError
from servers.mesh.ports import MOST_BROKERS, MOST_REPLICAS
from servers.settings import SubsystemSettings

PREFIX = "RONGHE_MESH_"


class MeshSettings(BaseSettings):
    """One machine's mesh."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data: Path = Field(default=Path(".ronghe"), description="where everything is kept")
    port_base: int = Field(default=7100, ge=0, le=65400, description="intake +1 ...; 0 for any free ports")
    intakes: Mapping[str, str] = Field(
        default={"yukuaiban": "渝快办"}, description="intake systems that get certificates: their names by id"
    )
    sampling: float = Field(default=1.0, ge=0, le=1, description="share of cases that are traced")
    database: str = Field(default="", description="URL of a PostgreSQL server, a database a subsystem; empty: files")
    replicas: int = Field(default=1, ge=1, le=MOST_REPLICAS, description="processes of each subsystem")
    brokers: int = Field(default=1, ge=1, le=MOST_BROKERS, description="Kafka brokers: three survive the loss of one")
    routes: Mapping[str, str] = Field(
        default={}, description="addresses by which the others reach kafka, intake, governance, where not directly"
    )
    sources: Mapping[str, Path] = Field(
        default={}, description="folders of ronghe's source by process (intake, intake/2), where it is another one's"
    )
    stepped_clock: bool = Field(default=False, description="a simulation: operators may advance the clock")
    longest_pause: float = Field(default=30.0, gt=0, description="seconds before what keeps dying is restarted")

    @model_validator(mode="after")
    def _replicas_share(self) -> Self:
        if self.replicas > 1 and not self.database:
            raise ValueError("replicas share a database: name a PostgreSQL server with --database")
        return self


def load_settings(data: Path | None, port_base: int | None, **others: Any) -> MeshSettings:
    """The settings in force, these before all; None leaves one unsaid. Raises MeshError for an impossible one."""
    _check_variables()
    line: dict[str, Any] = {"data": data, "port_base": port_base, **others}
    with _strict():
        said = MeshSettings(**{name: value for name, value in line.items() if value is not None})
        file = _file(said.data / "settings.toml")
        return MeshSettings(**{**file, **said.model_dump(exclude_unset=True), "data": said.data})


def load_bridge() -> BridgeSettings:
    """The bridge's, as the subsystems read theirs: they have the mesh's environment. Raises MeshError."""

    class Shared(BaseSettings):
        model_config = SubsystemSettings.model_config
        bridge: BridgeSettings = Field(default_factory=BridgeSettings)

    with _strict():
        return Shared().bridge


@contextmanager
def _strict() -> Iterator[None]:
    """Raises MeshError for a setting that will not do."""
    try:
        yield
    except SettingsError as error:
        raise MeshError(f"a setting will not do: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = f"the setting {'.'.join(map(str, first['loc']))} will" if first["loc"] else "these settings will"
        raise MeshError(f"{where} not do: {first['msg']}") from error


def _check_variables() -> None:
    known = {PREFIX + name.upper() for name in MeshSettings.model_fields}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            raise MeshError(f"{name} is no setting: there are {', '.join(sorted(known))}")


def _file(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise MeshError(f"{path} is not TOML: {error}") from error
