"""What people read, in their language: English, or Chinese (中文) where the locale asks for it.

English stands in the code, and is what the lookup goes by; Chinese stands in `zh.toml` beside this file. What has no
Chinese there is shown in English. Reason codes, options, numbers and `--json` are the same in every language.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

ENGLISH, CHINESE = "en", "zh"
# The first one that is set decides, as POSIX has it; our own goes before.
VARIABLES = ("RONGHE_LANG", "LC_ALL", "LC_MESSAGES", "LANG")

_in_english: ContextVar[bool] = ContextVar("in_english", default=False)


def chosen() -> str:
    """The language of this process: Chinese for every locale that begins with "zh", else English."""
    if _in_english.get():
        return ENGLISH
    locale = next(filter(None, map(os.environ.get, VARIABLES)), "")
    return CHINESE if locale.lower().startswith(CHINESE) else ENGLISH


@contextmanager
def in_english(is_so: bool = True) -> Iterator[None]:
    """What is said within is English, for what programs read, and for what has no Chinese at all."""
    token = _in_english.set(is_so)
    try:
        yield
    finally:
        _in_english.reset(token)


def say(sentence: str, /, **values: object) -> str:
    """A sentence with its `{placeholders}` filled in."""
    found = _found("sentences", sentence, sentence)
    return found.format(**values) if values else found


def heading(text: str, column_of: str = "") -> str:
    """What stands above a column, or before a value; the table's first heading tells apart what English does not."""
    return _found("headings", f"{column_of}: {text}", "") or _found("headings", text, text)


def term(enum: str, word: str) -> str:
    """A value of an enum of the contract, by the enum's full name and the value in English words."""
    return str(_catalog("words").get(enum, {}).get(word, word))


def event(name: str) -> str:
    """A fact of the contract, or an act of an operator, by the short name of its type."""
    return _found("events", name, name)


def refusal(reason: str, values: Mapping[str, str]) -> str:
    """What a reason means and what to do; "" where it has no sentence, or one that these values do not fill."""
    try:
        return _found("refusals", reason, "").format_map(values)
    except KeyError:
        return ""  # a server of another version: it says so in English


def rule(broken: str) -> str:
    """What is wrong with a field: the server's words, with their values, are found by their template."""
    for english, chinese in _catalog("rules").items():
        template = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(english))
        if values := re.fullmatch(template, broken):
            return str(chinese).format(**values.groupdict())
    return broken


def _found(section: str, text: str, otherwise: str) -> str:
    return str(_catalog(section).get(text, otherwise))


def _catalog(section: str) -> Mapping[str, Any]:
    return _chinese()[section] if chosen() == CHINESE else {}


@cache
def _chinese() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(files(__name__).joinpath("zh.toml").read_text("utf-8"))
