"""Makes the manual page `ollama-proxy.1` beside this file, from what `--help` of each command says.

`make manual` runs it. Not here: the words, which the commands and the settings have.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from ollama_proxy import __version__
from ollama_proxy.cli import program
from ollama_proxy.settings import ENVIRONMENT, SETTINGS

PAGE = Path(__file__).with_name("ollama-proxy.1")
NAME = "ollama-proxy"
SETTINGS_FLAGS = {setting.flag for setting in SETTINGS} | {"--config"}
FEW = 10
"""Settings of a command that are listed with it; more of them stand in a section of their own."""

AS_IT_IS = "\b"
"""click's mark of a paragraph whose lines are kept."""

Option = tuple[str, str]
"""What is typed, and what it means."""

AFTER = """\
.SH EXIT STATUS
.TP
.B 0
Done; of
.BR status :
it runs.
.TP
.B 1
Not done: the reason and the remedy are on standard error.
.TP
.B 2
A wrong option or setting.
.TP
.BR 3 ", " 4
Of
.BR status :
it does not run; it runs, but Ollama does not answer.
.SH FILES
.TP
.I share/doc/ollama\\-proxy/config.example.toml
Below the folder that it was installed into: every setting with its default, to be copied.
.TP
.I {}
The data folder, where
.B \\-\\-data\\-dir
names no other: the recorded calls, and the log of one in the background.
"""


def page() -> str:
    """The manual page, in the macros of man(7)."""
    top = click.Context(program, info_name=NAME)
    said = _sentence(program.help or "")
    lines = [
        f'.TH OLLAMA\\-PROXY 1 "" "{NAME} {__version__}" "User Commands"',
        ".ad l",
        ".nh",
        ".SH NAME",
        _plain(f"{NAME} - {said[0].lower()}{said[1:].removesuffix('.')}"),
        ".SH SYNOPSIS",
        f".B {_plain(NAME)}",
        r"\fICOMMAND\fR [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        _plain(said),
        ".SH COMMANDS",
        *(line for name in program.list_commands(top) for line in _command(top, name)),
        ".SH SETTINGS",
        _plain(
            f"Options win over the environment, where a setting is {ENVIRONMENT} and its name in "
            "capitals, with _ for each dot; that wins over the file that --config names, which is "
            "TOML; that over the defaults."
        ),
        *(line for option in _settings(top) for line in _option(option)),
        AFTER.format(_plain("~/.local/share/ollama_proxy")).rstrip(),
    ]
    return "\n".join(lines) + "\n"


def _command(above: click.Context, name: str) -> Iterator[str]:
    """A section of one command, and of those below it."""
    group = above.command
    assert isinstance(group, click.Group)
    command = group.get_command(above, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=above)
    path = context.command_path.removeprefix(f"{NAME} ")
    yield f".SS {_plain(' '.join([path, *command.collect_usage_pieces(context)]))}"
    for number, paragraph in enumerate(_paragraphs(command.help or "")):
        yield from ([".PP"] if number else [])
        yield from _paragraph(paragraph)
    options = [option for option in _options(context) if option[0] != "--help"]
    settings = [option for option in options if _flag(option) in SETTINGS_FLAGS]
    many = len(settings) > FEW
    for option in options:
        if not (many and option in settings):
            yield from _option(option)
    if many:
        taken = {_flag(option) for option in settings}
        others = {setting.flag for setting in SETTINGS if setting.has_flag} - taken
        but = f", but for {', '.join(sorted(others))}" if others else ""
        yield from (".PP", _plain(f"It takes the options of SETTINGS{but}."))
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _command(context, below)


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", inspect.cleandoc(text))


def _paragraph(text: str) -> Iterator[str]:
    if text.startswith(AS_IT_IS):
        yield from (".nf", *map(_plain, text.splitlines()[1:]), ".fi")
    else:
        yield _plain(_sentence(text))


def _options(context: click.Context) -> Iterator[Option]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            yield record


def _settings(top: click.Context) -> Iterator[Option]:
    """All of them; those without a flag by their names in the file."""
    serve = program.get_command(top, "serve")
    assert serve is not None
    options = {_flag(one): one for one in _options(click.Context(serve, parent=top))}
    yield options["--config"]
    for setting in SETTINGS:
        unflagged = (setting.name, f"{setting.help} It has no flag, as others see a command line.")
        yield options.get(setting.flag, unflagged)


def _option(option: Option) -> Iterator[str]:
    typed, meant = option[0], re.sub(r"\s+\[.*\]$", "", option[1])  # click's word on a range
    flags, _, value = re.sub(r"(?<!,) ", "\0", typed, count=1).partition("\0")
    shown = rf"\fB{_plain(flags)}\fR" + (rf" \fI{_plain(value)}\fR" if value else "")
    yield from (".TP", shown, _plain(meant))


def _flag(option: Option) -> str:
    """The long flag of an option."""
    return option[0].split(", ")[-1].split(" ")[0]


def _sentence(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Words as they are: nothing in them is meant for the formatter."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti")
    text = text.replace("'", r"\(aq").replace("^", r"\(ha").replace("`", r"\(ga")
    return rf"\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    PAGE.write_text(page())
