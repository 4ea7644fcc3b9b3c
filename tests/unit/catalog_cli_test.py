"""`ronghe catalog` and `ronghe centers` against the real catalog."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.catalog.service import CatalogServicer
from servers.kernel.times import SystemClock
from servers.rpc.paging import Pages
from tests.unit.catalog_support import CATALOG
from tests.unit.cli_support import complaint, ronghe, said, toy_mesh

DIGGING = ("catalog", "preview", "IT-001", "--division", "500103", "--field", "dig_depth_m=1.5")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    catalog = CatalogServicer(CATALOG, Pages(b"a key of the deployment, 32 bytes"), SystemClock())
    with toy_mesh(tmp_path_factory.mktemp("data"), catalog) as mesh:
        yield mesh.data


def test_the_catalog_lists_every_item(data: Path) -> None:
    assert len(json.loads(said(ronghe(data, "catalog", "list", "--json")))["items"]) == 30


def test_an_item_tells_its_form_and_whom_its_rules_ask(data: Path) -> None:
    printed = said(ronghe(data, "catalog", "show", "IT-028"))
    for told in ("最低生活保障审核确认", "20 working days", "bank_account", "PUBLIC_SECURITY"):
        assert told in printed


def test_all_centers_are_listed_or_those_below_one(data: Path) -> None:
    assert len(json.loads(said(ronghe(data, "centers", "--json")))["centers"]) == len(CATALOG.centers)
    printed = said(ronghe(data, "centers", "--parent", "500103"))
    assert "解放碑街道基层治理指挥中心" in printed
    assert "渝中区城市运行和治理中心" not in printed


def test_an_abolished_center_tells_until_when_it_was(data: Path) -> None:
    line = next(line for line in said(ronghe(data, "centers")).splitlines() if line.startswith("500105"))
    assert "2026-01-24" in line


def test_centers_below_nothing_are_a_mistake(data: Path) -> None:
    assert complaint(ronghe(data, "centers", "--parent", "999999")).startswith("CENTER_NOT_FOUND: ")


def test_a_preview_tells_who_is_asked_why_and_what_silence_means(data: Path) -> None:
    printed = said(ronghe(data, *DIGGING))
    for told in (
        "urban-mgmt-500103 渝中区城市管理局",
        "traffic-police-500103 渝中区公安交管部门",
        "TRAFFIC_POLICE",
        "co approval",
        "by law",
        "3 working days",
        "not granted without one",
        "城市道路管理条例",
        "挖掘或沿线有燃气管道",
    ):
        assert told in printed


def test_a_preview_of_several_places_tells_which_one_an_officer_decides(data: Path) -> None:
    printed = said(ronghe(data, *DIGGING, "--place", "500103003", "--place", "500113"))
    assert "traffic-police-500113" in printed
    assert "town-gov-500103003" in printed
    assert "500113: no organ, or several" in printed


def test_a_preview_says_when_nobody_is_asked(data: Path) -> None:
    assert "Nobody has to be asked" in said(ronghe(data, "catalog", "preview", "IT-027", "--division", "500103003"))


def test_personal_answers_are_not_sent_in_a_preview(data: Path) -> None:
    arguments = ("catalog", "preview", "IT-028", "--division", "500103003", "--field", "bank_account=6217")
    assert "hrss-500103" in said(ronghe(data, *arguments))


def test_a_preview_as_json_is_the_contract_s_message(data: Path) -> None:
    found = json.loads(said(ronghe(data, *DIGGING, "--json")))
    assert [each["rule"]["id"] for each in found["collaborators"]] == ["traffic-police", "econ-info", "town-gov"]
    assert found["collaborators"][0]["required"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("IT-999", "--division", "500103"), "ITEM_NOT_FOUND: "),
        (("IT-001", "--division", "999999"), "DIVISION_NOT_FOUND: "),
        (("IT-001", "--division", "500103", "--place", "999999"), "DIVISION_NOT_FOUND: "),
        (("IT-001", "--division", "500103", "--field", "x=1"), "the item's form has no field 'x'"),
    ],
)
def test_a_preview_that_cannot_be_says_why_in_one_sentence(
    data: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    assert complaint(ronghe(data, "catalog", "preview", *arguments)).startswith(sentence)
