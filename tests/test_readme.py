"""The README says what is: its settings are the program's, its REST answers exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ollama_proxy.derived import KEYS
from ollama_proxy.settings import SETTINGS

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_settings_table_is_the_programs() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (?:`(.*)`)? ?\| (.+) \|$", README, re.MULTILINE)
    expected = [
        (
            setting.name,
            setting.default if isinstance(setting.default, str) else json.dumps(setting.default),
            setting.help,
        )
        for setting in SETTINGS
    ]
    assert rows == expected


def test_the_keys_of_a_call_are_all_named() -> None:
    text = README.partition("A call, the same keys everywhere")[2].partition("Times are")[0]
    assert re.findall(r"`(\w+)`", text.partition(":")[2]) == list(KEYS)


def test_what_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
