"""`help`: the same as `--help` of a command. Not here: the texts, which each command has."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("command", required=False)
@click.argument("part", required=False)
@click.pass_context
def help(context: click.Context, command: str | None, part: str | None) -> int:
    """Tell of all commands, of one, or of a PART of it, as `help config show`."""
    above = context.parent
    assert above is not None and isinstance(above.command, click.Group)
    if command is None:
        click.echo(above.get_help())
        return 0
    asked = above
    for name in filter(None, (command, part)):
        group = asked.command
        found = group.get_command(asked, name) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"there is no command {name}", asked)
        asked = click.Context(found, info_name=name, parent=asked)
    click.echo(asked.get_help())
    return 0
