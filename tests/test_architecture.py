"""Who imports whom: no cycles, libraries only at the edges, each module says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ollama_proxy"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "scripts" not in path.parts
}
# Where a library may be used; whatever is not named here is used nowhere else.
EDGES = {
    "aiohttp": (
        *("admin", "app", "doors", "forwarder", "sensors", "simulator"),
        *("alerts.notifiers.by_webhook", "client.aio", "unanswered"),
    ),
    "apprise": ("alerts.notifiers.by_apprise",),
    "smtplib": ("alerts.notifiers.by_mail",),
    "sqlite3": ("storage",),
    "jinja2": ("admin.site",),
    "argparse": ("simulator",),
    "click": ("cli", "commands"),
    "rich": ("commands.top", "top.screen"),
    "termios": ("top.terminal",),
    "uvloop": ("commands.serving", "simulator"),
    "psutil": ("sensors",),
    "pynvml": ("sensors.gpu",),
}
PURE = (
    "exchange",
    "records",
    "config",
    "settings",
    "headers",
    "framing",
    "stats",
    "series",
    "charts",
    "shares",
    "observers",
    "filters",
    "recording",
    "replay",
    "export",
    "derived",
    "prefill",
    "gaps",
    "usage",
    "sketch",
    "loops",
    "insights",
    "ids",
    "endings",
    "waiting",
    *(f"alerts.{one}" for one in ("kinds", "config", "examples", "facts", "rules", "flips")),
    *("alerts.message", "alerts.notifiers.bodies"),
)
WITHOUT_IO = ("asyncio", "aiohttp", "sqlite3", "threading")


def imports(name: str) -> set[str]:
    """Full names of all that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            known = inner & MODULES.keys()
            found |= known or {node.module}
    return found


def own_imports(name: str) -> set[str]:
    return imports(name) & MODULES.keys() - {"ollama_proxy"}


def test_no_module_imports_itself_by_way_of_others() -> None:
    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in seen:
            for other in sorted(own_imports(name)):
                visit(other, (*path, name))
            seen.add(name)

    seen: set[str] = set()
    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("library", EDGES)
def test_a_library_is_used_at_its_edge_only(library: str) -> None:
    for name in MODULES:
        if any(one.split(".")[0] == library for one in imports(name)):
            short = name.removeprefix("ollama_proxy.")
            assert any(short == edge or short.startswith(edge + ".") for edge in EDGES[library]), (
                name
            )


def test_what_is_pure_does_no_io() -> None:
    for name in MODULES:
        short = name.removeprefix("ollama_proxy.")
        if short in PURE or short.split(".")[0] in PURE:
            used = {one.split(".")[0] for one in imports(name)}
            assert not used & set(WITHOUT_IO), name


def test_only_app_and_what_serves_it_know_the_whole_program() -> None:
    call = {one.removeprefix("ollama_proxy.") for one in own_imports("ollama_proxy.call")}
    assert not {one.split(".")[0] for one in call} & {"storage", "admin", "stats", "sensors"}
    for name in MODULES:
        if "ollama_proxy.app" in own_imports(name):
            assert name == "ollama_proxy.commands.serving"


def test_each_module_says_what_it_is() -> None:
    for name, path in MODULES.items():
        assert ast.get_docstring(ast.parse(path.read_text())), name


def test_no_import_inside_a_function_but_an_optional_one() -> None:
    for name, path in MODULES.items():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        names = {alias.name for alias in node.names}
                        assert names <= {"uvloop", "pynvml", "apprise"}, (name, names)
