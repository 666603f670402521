"""The pages for users say what is: commands, settings, addresses, REST answers, and quoted words.

Blocks marked `sh` are parsed as the program would, those marked `toml` are read as its settings,
those marked `text` hold words that it prints. Not here: the README (`test_readme.py`).
"""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from ollama_proxy.admin.openapi.routes import ROUTES
from ollama_proxy.cli import program
from ollama_proxy.config import CONFIG_ENVIRONMENT, load
from ollama_proxy.settings import SETTINGS

ROOT = Path(__file__).parent.parent
NAMES = (
    "README.it.md",
    *(
        f"docs/{name}.md"
        for name in (
            *("README", "alerts", "data", "docker", "machines", "moving", "one-call", "prompt-cut"),
            *("troubleshooting", "who-slowed"),
        )
    ),
)
PAGES = {name: (ROOT / name).read_text() for name in NAMES}
ENOUGH = 0.5
"""Of a quoted line, the part that must be words of the program; the rest are names and numbers."""
A_PHRASE = 12
"""Characters from which a text of the program tells anything."""

each_page = pytest.mark.parametrize("page", PAGES)


def blocks(page: str, kind: str) -> list[str]:
    found = re.findall(rf"^( *)```{kind}\n(.*?)\n *```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands(page: str) -> Iterator[list[str]]:
    """Arguments of `ollama-proxy`, wherever it is told to be run."""
    inline = re.findall(r"`(ollama-proxy [^`]+)`", PAGES[page])
    lines = [line for block in blocks(page, "sh") for line in _lines(block)]
    for line in [*inline, *lines]:
        for part in re.split(r"&&|;|\|", line):
            words = shlex.split(part, comments=True) if "ollama-proxy" in part else []
            if words[:1] == ["ollama-proxy"] and words[1:]:
                yield words[1:]


def _lines(block: str) -> list[str]:
    """Those of a shell: a backslash at the end goes on in the next."""
    return block.replace("\\\n", " ").splitlines()


@each_page
def test_every_command_is_one_that_the_program_takes(page: str) -> None:
    for arguments in commands(page):
        understood(program, list(arguments))


def understood(command: click.Command, arguments: list[str]) -> None:
    """Parse them as `ollama-proxy` does, subcommands too, and run nothing."""
    if arguments[-1:] in (["--help"], ["--version"]):
        arguments = arguments[:-1]
    context = command.make_context(command.name, list(arguments))
    rest = [*context._protected_args, *context.args]
    if isinstance(command, click.Group) and rest:
        _, found, left = command.resolve_command(context, rest)
        assert found is not None, arguments
        understood(found, left)


@each_page
def test_every_example_of_settings_is_right(page: str, tmp_path: Path) -> None:
    for text in blocks(page, "toml"):
        file = tmp_path / "x.toml"
        file.write_text(text)
        load({"config": str(file)}, {})


@each_page
def test_every_setting_that_is_named_exists(page: str) -> None:
    names = {setting.name for setting in SETTINGS}
    groups = {name.partition(".")[0] for name in names if "." in name}
    for name in re.findall(r"`(\w+\.\w+)`", PAGES[page]):
        if name.partition(".")[0] in groups and name != "insights.md":
            assert name in names or is_of_a_call(name), name
    environment = {setting.environment for setting in SETTINGS} | {
        CONFIG_ENVIRONMENT,
        "OLLAMA_PROXY_",
    }
    for name in re.findall(r"OLLAMA_PROXY_[A-Z_]*", PAGES[page]):
        assert name in environment, name


def is_of_a_call(name: str) -> bool:
    """`insights` is a key of a call, too: what it may hold."""
    return name in {"insights.slow", "insights.prompt_start", "insights.prompt_cut"}


@each_page
def test_ports_are_the_programs(page: str) -> None:
    defaults = {str(one.default) for one in SETTINGS} | {"http://127.0.0.1:11434"}
    usual = {port for value in defaults for port in re.findall(r"127\.0\.0\.1:(\d+)", value)}
    block = re.sub(r"```text\n.*?```", "", PAGES[page], flags=re.DOTALL)
    for host, port in re.findall(r"(127\.0\.0\.1|localhost):(\d+)", block):
        chosen = rf"--(?:admin-)?listen {host}:{port}\b|start {port}\b"
        assert port in usual or re.search(chosen, PAGES[page]), port


@each_page
def test_every_rest_answer_exists_and_takes_what_it_is_asked(page: str) -> None:
    for path, query in re.findall(r":80\d\d(/api/[\w./$-]+)\??([\w=&.$-]*)", PAGES[page]):
        known = [one for one in ROUTES if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one.path), path)]
        assert known, path
        for name in re.findall(r"(\w+)=", query):
            assert any(name in one.takes for one in known), (path, name)


@each_page
def test_what_a_page_links_to_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", re.sub(r"`[^`\n]*`", "", PAGES[page])):
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {anchored(one) for one in headings}, link


def anchored(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_in_the_index() -> None:
    index = PAGES["docs/README.md"]
    for file in (ROOT / "docs").glob("*.md"):
        assert file.name == "README.md" or f"]({file.name})" in index, file.name


@each_page
def test_quoted_words_are_what_the_program_says(page: str) -> None:
    for block in blocks(page, "text"):
        for line in block.splitlines():
            if line.strip():
                assert share_of_ours(line) >= ENOUGH, line


def test_quoted_words_in_tables_are_what_the_program_says() -> None:
    """Sentences in a page's code spans: those with three blanks that are no command."""
    for page in ("docs/troubleshooting.md", "README.it.md"):
        for span in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGES[page], flags=re.S)):
            if span.count(" ") >= 3 and not re.match(r"ollama-proxy |curl |--|\w+=", span):
                assert share_of_ours(span) >= ENOUGH, span


def test_the_italian_page_calls_things_as_the_page_does() -> None:
    words = json.loads((ROOT / "dashboard" / "i18n" / "it.json").read_text())
    text = PAGES["README.it.md"]
    views = text.partition("| pagina |")[2].partition("\n\n")[0]
    names = re.findall(r"^\| ([^|-]+) \|", views, re.MULTILINE)
    assert sorted(", ".join(names).split(", ")) == sorted(
        word for key, word in words.items() if key.startswith("view.")
    )
    for name in re.findall(r"«([^»]+)»", text):
        assert name in words.values(), name


@pytest.mark.parametrize("line", ["the port 8080 of this host is used by somebody else", "hello"])
def test_words_of_nobody_are_found_out(line: str) -> None:
    assert share_of_ours(line) < ENOUGH


def share_of_ours(line: str) -> float:
    """How much of a line is covered by texts of the program, what they leave open included."""
    if any(line in part for text in texts() for part in text):
        return 1.0
    covered = [False] * len(line)
    for text in texts():
        if len("".join(text)) < A_PHRASE:
            continue
        for start, end in places(text, line):
            covered[start:end] = [True] * (end - start)
    return sum(covered) / len(line)


def places(parts: tuple[str, ...], line: str) -> Iterator[tuple[int, int]]:
    """Where a text's fixed parts stand in a line, one after the other; the names between them.

    A line that ends with … leaves the last ones out."""
    while line.endswith("…") and parts and parts[-1] not in line:
        parts = parts[:-1]
    if parts and all(part in line for part in parts):
        pattern = ".{1,200}?".join(map(re.escape, parts))
        yield from (found.span() for found in re.finditer(pattern, line))


@cache
def texts() -> set[tuple[str, ...]]:
    """What the program can say, as the fixed parts between what it fills in."""
    found = set()
    for file in (ROOT / "ollama_proxy").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                pieces = [
                    part.value if isinstance(part, ast.Constant) else "\0" for part in node.values
                ]
                found.add(fixed("".join(map(str, pieces))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(fixed(node.value))
    for file in (ROOT / "dashboard" / "i18n").glob("*.json"):
        found |= {fixed(text) for text in json.loads(file.read_text()).values()}
    return found


def fixed(text: str) -> tuple[str, ...]:
    parts = re.split(r"\0|\{\w*\}|%(?:\.\d)?[sdf]", text)
    return tuple(part for part in parts if part.strip())
