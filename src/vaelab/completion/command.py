"""`vaelab completion SHELL`"""

import sys

from vaelab.completion.index import Commands, build, read
from vaelab.completion.scripts import SCRIPTS
from vaelab.completion.words import completions

USAGE = """\
usage: vaelab completion {bash,zsh,fish}

Prints a script that completes commands, config groups, options, keys and flags when you press TAB. Add one line to the
start-up file of your shell:

  ~/.bashrc                   eval "$(vaelab completion bash)"
  ~/.zshrc                    eval "$(vaelab completion zsh)"
  ~/.config/fish/config.fish  vaelab completion fish | source

  vaelab train mod<TAB>       model=
  vaelab train encoder=conv encoder.<TAB>
                              encoder.widths=  encoder.activation=  ...

The keys are collected once, in the background, and kept in ~/.cache/vaelab. Where no word fits, file names are
completed.
"""


def completion(arguments: list[str], commands: Commands) -> None:
    """Print the script for a shell, or what a script asks for.

    Args:
        arguments: behind `vaelab completion`: a shell; or `--line` and an unfinished command line, whose completions
            are printed one a line; or `--index`, which collects what can be completed.
        commands: those of `vaelab`, which the index asks for their flags.

    Exits with 2 for other arguments.
    """
    match arguments:
        case ["--line", line]:
            sys.stdout.write("".join(f"{word}\n" for word in completions(line, read())))
        case ["--index"]:
            print(build(commands))
        case [shell] if shell in SCRIPTS:
            sys.stdout.write(SCRIPTS[shell])
        case [*rest] if {"-h", "--help"} & set(rest):
            sys.stdout.write(USAGE)
        case _:
            shown = " ".join(arguments) or "names no shell"
            sys.stderr.write(f"error: vaelab completion {shown}; use vaelab completion bash, zsh or fish\n")
            sys.exit(2)
