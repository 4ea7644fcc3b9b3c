"""What is looked at before a mesh starts: settings, ports, the data directory, Java, Kafka's jars."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from bridge.settings import BridgeSettings
from servers.mesh import folder, jars, java, up
from servers.mesh.errors import MeshError
from servers.mesh.folder import check_room, locked
from servers.mesh.java import find_java
from servers.mesh.ports import Ports
from servers.mesh.settings import MeshSettings, load_bridge, load_settings
from servers.settings import SubsystemSettings


def test_without_any_setting_the_documented_ports_and_folder_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, None)
    assert (settings.data, settings.port_base) == (Path(".ronghe"), 7100)


def test_the_command_line_goes_before_variables_and_these_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text("port_base = 1\nsampling = 0.1\nintakes = {one = '一', two = '二'}\n")
    monkeypatch.setenv("RONGHE_MESH_PORT_BASE", "2")
    monkeypatch.setenv("RONGHE_MESH_SAMPLING", "0.2")
    settings = load_settings(tmp_path, 3)
    assert (settings.port_base, settings.sampling, settings.intakes) == (3, 0.2, {"one": "一", "two": "二"})


def test_the_folder_may_come_from_a_variable_and_its_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text("port_base = 9000\n")
    monkeypatch.setenv("RONGHE_MESH_DATA", str(tmp_path))
    settings = load_settings(None, None)
    assert (settings.data, settings.port_base) == (tmp_path, 9000)


def test_the_way_to_a_process_may_lead_through_another_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RONGHE_MESH_ROUTES", '{"kafka": "127.0.0.1:1"}')
    assert load_settings(tmp_path, None).routes == {"kafka": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("port_bas = 1", "port_bas will not do"), ("sampling = 2", "sampling will not do"), ("sampling", "is not TOML")],
)
def test_a_file_with_a_mistake_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(MeshError, match=sentence):
        load_settings(tmp_path, None)


@pytest.mark.parametrize(("name", "value"), [("PORT_BAS", "1"), ("PORT_BASE", "many"), ("INTAKES", "one")])
def test_a_variable_with_a_mistake_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RONGHE_MESH_{name}", value)
    with pytest.raises(MeshError, match=f"(?i){name}"):
        load_settings(tmp_path, None)


def test_ports_stand_at_fixed_distances_from_the_base() -> None:
    assert Ports.choose(31_000) == Ports(31_001, 31_002, 31_003, 31_092, 31_093)


def test_any_free_ports_are_different_ones() -> None:
    ports = Ports.choose(0)
    assert len({ports.intake, ports.governance, ports.department, ports.kafka, ports.controller}) == 5


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(MeshError, match=f"port {port} is taken: .* --port-base"):
            Ports.choose(port - 92)


def test_a_data_directory_takes_one_mesh_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(MeshError, match=r"a mesh runs on .* already"), locked(tmp_path):
        pytest.fail("two meshes run")
    with locked(tmp_path):
        pass


def test_what_a_killed_mesh_announced_is_gone_with_the_next_lock(tmp_path: Path) -> None:
    stale = tmp_path / "run" / "endpoints.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    with locked(tmp_path):
        assert not stale.exists()


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError, match=r"cannot be written: .*--data"), locked(tmp_path / "file" / "data"):
        pytest.fail("there is no such directory")


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_room(tmp_path)
    monkeypatch.setattr(folder, "LEAST_FREE_BYTES", 2**62)
    with pytest.raises(MeshError, match=r"MB are free for .*: make room"):
        check_room(tmp_path)


def java_of(version: str, home: Path) -> Path:
    """A program that says it is a java of this version."""
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    path.chmod(0o755)
    return path


def test_java_home_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, other = java_of("17.0.9", tmp_path / "home"), java_of("21.0.1", tmp_path / "other")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(other.parent), prepend=os.pathsep)
    assert find_java() == str(found)


@pytest.mark.parametrize("old", ["11.0.2", "1.8.0_392", "none"])
def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    java_of(old, tmp_path / "home")
    newer = java_of("17", tmp_path / "newer")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(newer.parent), prepend=os.pathsep)
    assert find_java() == str(newer)


def test_without_java_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "find_spec", lambda _: None)
    with pytest.raises(MeshError, match="Kafka needs Java 17 or later: "):
        find_java()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, whose jars are the ones of the project's."""
    own = tmp_path / "kafka" / "envs"
    own.mkdir(parents=True)
    for jar in jars.class_path().split(os.pathsep):
        (own / Path(jar).name).symlink_to(jar)
    monkeypatch.setenv("RONGHE_CACHE", str(tmp_path))
    return own


def test_the_class_path_is_all_pinned_jars_and_no_other(cache: Path) -> None:
    (cache / "other.jar").write_bytes(b"")
    assert sorted(jars.class_path().split(os.pathsep)) == sorted(
        str(path) for path in cache.iterdir() if path.name != "other.jar"
    )


def test_a_missing_jar_is_named(cache: Path) -> None:
    (cache / "kafka_2.13-4.2.1.jar").unlink()
    with pytest.raises(MeshError, match=r"kafka_2\.13-4\.2\.1\.jar is missing: run `make setup`"):
        jars.class_path()


def test_a_damaged_jar_is_named(cache: Path) -> None:
    jar = cache / "kafka-clients-4.2.1.jar"
    content = jar.read_bytes()
    jar.unlink()
    jar.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(MeshError, match=r"kafka-clients-4\.2\.1\.jar is corrupted: .*`make setup`"):
        jars.class_path()


def test_an_archive_of_classes_is_one_runtimes_and_one_class_paths(tmp_path: Path, cache: Path) -> None:
    runtimes = [str(java_of(version, tmp_path / version)) for version in ("17", "21")]
    paths = {java.class_archive(runtime, jars) for runtime in runtimes for jars in ("a.jar", "b.jar")}
    assert len(paths) == 4
    assert {path.parent for path in paths} == {cache.parent}


def test_only_an_archive_with_something_in_it_is_used(tmp_path: Path, cache: Path) -> None:
    """It is empty where the runtime can make none."""
    runtime = str(java_of("17", tmp_path / "home"))
    archive = java.class_archive(runtime, "a.jar")
    used = [java.archive_options(runtime, "a.jar")]
    for content in (b"", b"classes"):
        archive.write_bytes(content)
        used.append(java.archive_options(runtime, "a.jar"))
    assert used == [[], [], [f"-XX:SharedArchiveFile={archive}"]]


def test_what_kafka_loads_comes_from_the_archive_that_the_setup_made() -> None:
    runtime, class_path = find_java(), jars.class_path()
    options = java.archive_options(runtime, class_path)
    if not options:
        assert java.class_archive(runtime, class_path).exists(), "run `make setup`"
        pytest.skip("this runtime has no archive of its own classes")
    command = [runtime, *options, "-Xlog:class+load", "-cp", class_path, "kafka.tools.StorageTool", "--help"]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    assert re.search(r" kafka\.\S+ source: shared objects file \(top\)", loaded)


# --- what the mesh and its subsystems must read alike ---


async def test_the_topic_is_made_as_the_subsystems_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[BridgeSettings] = []

    class Cluster:
        def __init__(self, access: object) -> None:
            """Asks nobody."""

        def ensure_topic(self, settings: BridgeSettings, replication: int, config: dict[str, str]) -> None:
            made.append(settings)

    monkeypatch.setattr(up, "Admin", Cluster)
    monkeypatch.setenv("RONGHE_BRIDGE__TOPIC", "ronghe.trial.v1")
    monkeypatch.setenv("RONGHE_BRIDGE__PARTITIONS", "5")
    await up._start_kafka(MeshSettings(data=tmp_path), load_bridge(), Ports.choose(0), {})
    needed = {"origin": "intake-01", "database_url": "sqlite://", "pki": "", "secret": "", "spans": ""}
    for name, value in needed.items():
        monkeypatch.setenv(f"RONGHE_{name.upper()}", value)
    assert made == [SubsystemSettings().bridge]
    assert (made[0].topic, made[0].partitions) == ("ronghe.trial.v1", 5)


def test_a_setting_of_the_bridge_that_will_not_do_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RONGHE_BRIDGE__PARTITIONS", "0")
    with pytest.raises(MeshError, match=r"^the setting bridge.partitions will not do: .* greater than or equal to 1"):
        load_bridge()
