"""The manual page: as `--help` is now, and as `man` shows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from docs.manual import PAGE, page
from ollama_proxy.cli import COMMANDS
from ollama_proxy.settings import SETTINGS

WIDTH = 80


def test_it_says_what_help_says() -> None:
    assert PAGE.read_text() == page(), "make manual writes it anew"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is what man shows it with")
def test_it_is_shown_without_a_warning_and_within_the_terminal() -> None:
    formatted = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", f"-rLL={WIDTH}n", PAGE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert formatted.stderr == ""
    lines = formatted.stdout.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert set(COMMANDS) <= {line.split()[0] for line in lines if re.match(r" {3}\w", line)}
    names = {word for line in lines if (word := line.strip().split(" ")[0])}
    for setting in SETTINGS:
        assert (setting.flag if setting.has_flag else setting.name) in names
