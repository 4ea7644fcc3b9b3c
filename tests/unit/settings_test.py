"""What operators are shown of a process's settings."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.settings import BridgeSettings
from ronghe.operations.v1.operations_service_pb2 import GetSettingsResponse
from servers.settings import SubsystemSettings


@pytest.mark.parametrize("quoted", ["geheim", "ge%40he%2Fim", "%E5%AF%86%E7%A0%81"])
def test_every_setting_is_shown_and_no_secret_among_them(tmp_path: Path, quoted: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key of the deployment")
    found = SubsystemSettings(
        origin="intake-01",
        database_url=f"postgresql+psycopg://ronghe:{quoted}@db.local:5433/ronghe_intake",
        pki=tmp_path / "pki",
        secret=secret,
        spans=tmp_path / "spans",
        bridge=BridgeSettings(linger_ms=7),
    ).shown()
    shown = {each.name: (each.value, each.default_value) for each in found}
    own = SubsystemSettings.model_fields.keys() - {"bridge"}
    assert shown.keys() == own | {f"bridge.{name}" for name in BridgeSettings.model_fields}
    assert shown["database_url"] == ("postgresql+psycopg://ronghe:***@db.local:5433/ronghe_intake", "")
    assert shown["secret"] == (str(secret), "")
    assert shown["bridge.linger_ms"] == ("7.0", "1.0")
    told = GetSettingsResponse(settings=found).SerializeToString()
    assert quoted.encode() not in told
    assert b"key of the deployment" not in told


def test_a_password_among_the_parameters_of_a_url_is_not_shown(tmp_path: Path) -> None:
    url = "postgresql+psycopg://db.local/ronghe_intake?user=ronghe&password=geheim&sslpassword=auch"
    settings = SubsystemSettings(
        origin="intake-01", database_url=url, pki=tmp_path, secret=tmp_path / "secret", spans=tmp_path
    )
    (shown,) = (each.value for each in settings.shown() if each.name == "database_url")
    assert shown == "postgresql+psycopg://db.local/ronghe_intake?password=hidden&sslpassword=hidden&user=ronghe"


def test_an_error_in_the_settings_does_not_repeat_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONGHE_DATABASE_URL", "postgresql+psycopg://ronghe:geheim@db.local/ronghe_intake")
    with pytest.raises(ValidationError) as caught:
        SubsystemSettings()  # type: ignore[call-arg] # what is missing is the point
    assert "geheim" not in str(caught.value)
