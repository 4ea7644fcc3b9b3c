"""Settings of a mesh: the command line, then RONGHE_MESH_ variables, then `<data>/settings.toml`, then defaults."""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from servers.mesh.errors import MeshError

PREFIX = "RONGHE_MESH_"


class MeshSettings(BaseSettings):
    """One machine's mesh."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data: Path = Field(default=Path(".ronghe"), description="where everything is kept")
    port_base: int = Field(default=7100, ge=0, le=65400, description="intake +1 ...; 0 for any free ports")
    intakes: tuple[str, ...] = Field(default=("yukuaiban",), description="intake systems to make certificates for")
    sampling: float = Field(default=1.0, ge=0, le=1, description="share of cases that are traced")
    longest_pause: float = Field(default=30.0, gt=0, description="seconds before what keeps dying is restarted")


def load_settings(data: Path | None, port_base: int | None) -> MeshSettings:
    """The settings in force; raises MeshError for one that is unknown or out of range."""
    _check_variables()
    line: dict[str, Any] = {"data": data, "port_base": port_base}
    try:
        said = MeshSettings(**{name: value for name, value in line.items() if value is not None})
        file = _file(said.data / "settings.toml")
        return MeshSettings(**{**file, **said.model_dump(exclude_unset=True), "data": said.data})
    except SettingsError as error:
        raise MeshError(f"a setting will not do: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise MeshError(f"the setting {'.'.join(map(str, first['loc']))} will not do: {first['msg']}") from error


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
