"""The command `ollama-proxy`: finds the command that is meant, and ends in an exit code.

A command's module is imported when that command is used, so that `--version`, `status` and the
shell's completion need not wait for a server's libraries. Not here: the commands (`commands/`).
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from ollama_proxy import __version__
from ollama_proxy.commands.saying import FULL, USAGE_ERROR, discard, refuse
from ollama_proxy.config import ConfigError

COMMANDS = {
    "serve": "serving",
    "demo": "serving",
    "start": "background",
    "stop": "background",
    "restart": "background",
    "status": "status",
    "logs": "logs",
    "top": "top",
    "test": "testing",
    "cleanup": "cleanup",
    "alerts": "alerts",
    "export": "export",
    "privacy": "privacy",
    "config": "config",
    "service": "service",
    "takeover": "takeover",
    "completion": "completion",
    "help": "help",
}
"""Each command's module in `commands`, in the order in which help lists them."""


READER_LEFT = 141
"""The exit code then, as of a program that SIGPIPE ended."""


class Commands(click.Group):
    """The commands, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ollama_proxy.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def make_context(self, *named: Any, **more: Any) -> click.Context:
        with _printing():  # it shows the help
            return super().make_context(*named, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _printing():
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            meant = f", did you mean {near[0]}" if near else ""
            raise click.UsageError(f"there is no command {args[0]}{meant}", ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands by their names alone: their help would import each of them."""
        names = [CompletionItem(name) for name in COMMANDS if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)


@contextlib.contextmanager
def _printing() -> Iterator[None]:
    """The reader of our output may leave, as `| head` does: not an error of ours. Here, since click
    makes one of it. Its disk may be full."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard()
        raise click.exceptions.Exit(READER_LEFT) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        discard()
        why = f"cannot write the output: {error.strerror}: free some space, or write it elsewhere"
        raise click.exceptions.Exit(refuse(why, 1)) from None


@click.group(cls=Commands, invoke_without_command=True)
@click.version_option(__version__, prog_name="ollama-proxy", message="%(prog)s %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """A transparent proxy in front of Ollama that records every call."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit(USAGE_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = None if arguments is None else list(arguments)
    try:
        return int(program.main(given, "ollama-proxy", standalone_mode=False) or 0)
    except click.UsageError as error:
        of = "ollama-proxy" if error.ctx is None else error.ctx.command_path
        why = " ".join(error.format_message().split()).rstrip(".?")
        return refuse(f"{why}: see {of} --help", error.exit_code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        return refuse(str(error), USAGE_ERROR)
    except (KeyboardInterrupt, click.Abort):
        return 130
