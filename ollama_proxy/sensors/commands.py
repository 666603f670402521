"""What a process is called: the base name of its program, and of the script that it runs.

A command line may hold secrets, so nothing else of it is ever returned: what is not surely the
script is None. Not here: where a command line is read.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from typing import NamedTuple

NAME_CHARACTERS = 80

_VERSIONED = re.compile(r"([a-z]+)[\d.]*t?(?:\.exe)?")


class _Language(NamedTuple):
    """How an interpreter is told its script.

    `code`: options after which there is no script file; `named`: options followed by what is run;
    `valued`: options followed by something else; `commands`: words that may stand before the
    script, which then must end as one of `suffixes`.
    """

    code: str = ""
    named: str = ""
    valued: str = ""
    commands: str = ""
    suffixes: tuple[str, ...] = ()


_SHELL = _Language(
    "-c -s --command", "", "-o -O -C --rcfile --init-file --init-command", "", (".sh",)
)
_PYTHON = _Language("-c", "-m", "-W -X --check-hash-based-pycs", "", (".py", ".pyw", ".pyz"))
_JAVASCRIPT = (".js", ".mjs", ".cjs", ".ts", ".mts", ".tsx", ".jsx")
_NODE = _Language(
    code="-e -p -i --eval --print --interactive",
    valued="-r -C --require --import --loader --experimental-loader --conditions --env-file",
    suffixes=_JAVASCRIPT,
)
_LANGUAGES = {
    **dict.fromkeys(("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish"), _SHELL),
    **dict.fromkeys(("python", "pythonw", "pypy"), _PYTHON),
    **dict.fromkeys(("node", "nodejs"), _NODE),
    "bun": _Language("-e -p --eval --print", "", "-r --preload", "run", _JAVASCRIPT),
    "deno": _Language("", "", "-c --config", "run serve", _JAVASCRIPT),
    "uv": _Language("", "-m --module", "-p --python", "run", (".py", ".pyw")),
    "ruby": _Language("-e", "", "-I -r -C -E", "", (".rb",)),
    "perl": _Language("-e -E", "", "-I -M -m", "", (".pl",)),
    "php": _Language("-r -a --run", "-f --file", "-d -c -t -S -z", "", (".php", ".phar")),
    "java": _Language("", "-jar --module", "-cp -p -classpath --class-path", "", (".jar",)),
}

_MODULE, _COMMAND = "ollama_proxy", "ollama-proxy"
_INTERPRETER = os.path.realpath(sys.executable)
_SCRIPTS = {
    os.path.realpath(os.path.join(folder, _COMMAND))
    for folder in (os.path.dirname(sys.executable), sysconfig.get_path("scripts"))
}


def program_name(path: str) -> str | None:
    """The base name of a program file, as `/proc/PID/exe` leads to it."""
    return clean(_base(path.removesuffix(" (deleted)")), NAME_CHARACTERS)


def script_name(program: str, arguments: Sequence[str]) -> str | None:
    """The base name of the script, or the module, that an interpreter runs; else None.

    `arguments` are those after the program's own name.
    """
    match = _VERSIONED.fullmatch(program.lower())
    language = _LANGUAGES.get(match[1]) if match else None
    return None if language is None else clean(_base(_script(language, arguments)), NAME_CHARACTERS)


def is_own(file: str, arguments: Sequence[str], folder: str) -> bool:
    """Whether that is this program, whatever command of it: the same interpreter, which runs the
    module, or the script that was installed beside it. `file`: the program's; `folder`: where it
    works."""
    if os.path.realpath(file) != _INTERPRETER:
        return False
    script = _script(_PYTHON, arguments)
    before = arguments[arguments.index(script) - 1] if script in arguments[1:] else ""
    if re.fullmatch("-[A-Za-z]*m", before):
        return script == _MODULE
    return os.path.realpath(os.path.join(folder, script)) in _SCRIPTS


def clean(text: str, most: int) -> str | None:
    """A text of one line and bearable length, without control characters; None if empty."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: most + 1])
    return (text if len(text) <= most else text[: most - 1] + "…") or None


def _script(language: _Language, arguments: Sequence[str]) -> str:
    """The argument that names the script, or an empty text."""
    rest = iter(arguments)
    unsure = bool(language.commands)
    for argument in rest:
        if argument == "--":
            return next(rest, "")
        if argument == "-" or not argument.startswith(("-", "+")):
            if argument in language.commands.split():
                continue
            return argument if not unsure or argument.endswith(language.suffixes) else ""
        kind, joined = _option(language, argument)
        if kind == "code":
            return ""
        if kind == "named":
            return joined or next(rest, "")
        if kind == "valued" and not joined:
            next(rest, "")
        # What follows an option that is not known may be its value.
        unsure = unsure or kind == "unknown"
    return ""


def _option(language: _Language, argument: str) -> tuple[str, str]:
    """What an option means, and what is joined to it: `-Im` and `-Wignore` hold several letters."""
    name, _, value = argument.partition("=")
    if kind := _kind(language, name):
        return kind, value
    if argument.startswith("--"):
        return ("" if value else "unknown"), value
    for place, letter in enumerate(argument[1:], 2):
        if kind := _kind(language, "-" + letter):
            return kind, argument[place:]
    return "", ""


def _kind(language: _Language, option: str) -> str:
    for kind in ("code", "named", "valued"):
        if option in getattr(language, kind).split():
            return kind
    return ""


def _base(path: str) -> str:
    """The last part of a path; of a URL never its host, user or query."""
    if "://" in path:
        path = re.split(r"[?#]", path.partition("://")[2])[0].partition("/")[2]
    base = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return "" if base in ("-", ".", "..") else base
