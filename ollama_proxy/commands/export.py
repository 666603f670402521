"""`export`: recorded calls as CSV or lines of JSON. Not here: the formats (`export.py`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ollama_proxy.admin.query import FILTERS, NO_LIMIT, ParameterError, parse_filter
from ollama_proxy.commands.options import settings
from ollama_proxy.commands.saying import USAGE_ERROR, counted, refuse
from ollama_proxy.commands.there import asking
from ollama_proxy.export import FORMATS
from ollama_proxy.exporting import export as exported
from ollama_proxy.exporting import opened
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.folder import DATABASE

Command = TypeVar("Command", bound=Callable[..., Any])
_ONLY = "only_"


def _filters(command: Command) -> Command:
    for name, what in reversed(FILTERS.items()):
        flag = f"--{name.replace('_', '-')}"
        command = click.option(flag, _ONLY + name, metavar="VALUE", help=what)(command)
    return command


@click.command(short_help="Write recorded calls as CSV or lines of JSON.")
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="csv", help="Default: csv."
)
@click.option("--output", metavar="FILE", help="Default: standard output.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@_filters
@settings(only=("data_dir",))
def export(form: str, output: str | None, force: bool, **flags: Any) -> int:
    """Write recorded calls, the newest first, from the database in the data folder; a proxy that
    uses it may go on meanwhile."""
    names = {key: key.removeprefix(_ONLY) for key in flags if key.startswith(_ONLY)}
    asked = {name: flags.pop(key) for key, name in names.items()}
    asked = {name: value for name, value in asked.items() if value is not None}
    try:
        wanted = parse_filter(asked, time.time(), limit=NO_LIMIT, most=NO_LIMIT)
        database = asking(flags).data_dir / DATABASE
        with opened(output, force) as out:
            count = exported(database, wanted, FORMATS[form], out)
    except ParameterError as error:
        return refuse(str(error), USAGE_ERROR)
    except StoreError as error:
        return refuse(str(error), 1)
    except BrokenPipeError:
        raise  # the reader left
    except FileExistsError:
        return refuse(f"{output} exists: --force overwrites it", 1)
    except OSError as error:
        remedy = "name another file with --output" if output else "write it elsewhere"
        return refuse(f"cannot write {output or 'the output'}: {error.strerror}: {remedy}", 1)
    print(f"exported {counted(count, 'call', 'calls')}", file=sys.stderr)
    return 0
