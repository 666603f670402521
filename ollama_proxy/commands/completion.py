"""`completion`: what a shell runs to complete this program's commands. Not here: what completes
them, which is click.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "ollama-proxy"
VARIABLE = "_OLLAMA_PROXY_COMPLETE"


@click.command(short_help="Print what completes commands in a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print what lets a shell complete commands and options at the Tab key.

    \b
    bash  in ~/.bashrc: eval "$(ollama-proxy completion bash)"
    zsh   in ~/.zshrc, behind compinit: eval "$(ollama-proxy completion zsh)"
    fish  in config.fish: ollama-proxy completion fish | source
    """
    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(context.find_root().command, {}, PROGRAM, VARIABLE).source())
    return 0
