"""The next version that the fault campaign runs beside this one."""

from pathlib import Path

import pytest

from faults.versions import EDITS, TREE, SourceChanged, edited


@pytest.mark.parametrize("name", EDITS)
def test_the_source_is_what_the_edits_were_made_for(name: str) -> None:
    text = edited(Path(TREE, name).read_text(), EDITS[name], name)
    assert all(after in text for _, after in EDITS[name])


def test_an_edit_that_has_no_place_any_more_is_named() -> None:
    with pytest.raises(SourceChanged, match=r"case\.py has 0 times: gone"):
        edited("something else", [("gone\n", "")], "case.py")
