"""``gstream completion``: scripts that let a shell complete commands, options, topics and groups.

They are click's own; what they ask for is answered by each option itself.
"""

from __future__ import annotations

import click

from gstream.cli.options import CONTEXT
from gstream.cli.output import print_lines, told_in_one_line

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@click.command(
    context_settings=CONTEXT,
    epilog="""
\b
Examples:
  eval "$(gstream completion bash)"                       in ~/.bashrc (bash 4.4 or newer)
  eval "$(gstream completion zsh)"                        in ~/.zshrc, behind compinit
  gstream completion fish > ~/.config/fish/completions/gstream.fish

Topics and groups are those of the server, if it is there.
""",
)
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(SHELLS))
@click.pass_context
@told_in_one_line
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click has these three"
    script = found(context.find_root().command, {}, "gstream", "_GSTREAM_COMPLETE")
    # source() would look for a bash here, and this may not be the machine that uses it.
    print_lines((found.source_template % script.source_vars()).rstrip("\n"))
