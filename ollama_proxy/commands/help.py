"""`help`: the same as `--help` of a command. Not here: the texts, which each command has."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("command", required=False)
@click.pass_context
def help(context: click.Context, command: str | None) -> int:
    """Tell of all commands, or of one."""
    above = context.parent
    assert above is not None and isinstance(above.command, click.Group)
    if command is None:
        click.echo(above.get_help())
        return 0
    found = above.command.get_command(above, command)
    if found is None:
        raise click.UsageError(f"there is no command {command}", above)
    with click.Context(found, info_name=command, parent=above) as asked:
        click.echo(asked.get_help())
    return 0
