"""``psfmatch completion``: a script that teaches a shell the commands, the options and the words they take.

It is made from the parsers, so that it knows what they know, and starts nothing while somebody types.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from psfmatch.cli.parser import commandsOf

__all__ = ["SHELLS", "addCommand", "completionScript"]

NAMES_OF_FILES = {
    *("FILE", "OUT", "DIR", "PNG", "HTML", "TABLE", "PICTURE"),
    *("TEMPLATE", "SCIENCE", "KERNEL", "DIFFERENCE", "MANIFEST"),
}
"""Metavariables that stand for files; after all others no file is offered."""


LONG = 40
"""Words of a list that stands in the script once, in a variable."""


class Taken(NamedTuple):
    """What follows an option: one of some words, a file, or something that only its user knows; flags take nothing."""

    option: str
    help: str
    isFlag: bool = False
    words: tuple[str, ...] = ()
    isFile: bool = False


def addCommand(commands: Any, parserOf: Callable[[], Any]) -> None:
    """Add the command; `parserOf` makes the whole parser."""
    parser = commands.add_parser(
        "completion",
        help="print a script that lets a shell complete commands and options",
        description="Print a completion script. For bash: psfmatch completion bash > "
        "~/.local/share/bash-completion/completions/psfmatch; for zsh: psfmatch completion zsh > _psfmatch in a "
        "directory of $fpath; for fish: psfmatch completion fish > ~/.config/fish/completions/psfmatch.fish.",
    )
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SHELLS), help="bash, zsh or fish")
    parser.set_defaults(run=lambda options: _print(options.shell, parserOf()), verbose=0, quiet=False, json=False)


def _print(shell: str, parser: argparse.ArgumentParser) -> int:
    print(completionScript(parser, shell), end="")
    return 0


def completionScript(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return the script for a shell."""
    commands = {name: _takenBy(command) for name, command in commandsOf(parser).items()}
    (subcommands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    told = {choice.dest: str(choice.help) for choice in subcommands._choices_actions}
    told = {name: told.get(name, "") for name in commands}
    # Its options are not argparse's.
    from psfmatch.hotpants import OPTIONS

    commands["hotpants"] = [
        Taken(f"-{name}", option.does, option.kind == "flag", isFile=True) for name, option in OPTIONS.items()
    ]
    return SHELLS[shell](told, commands | {"": _takenBy(parser)})


def _takenBy(parser: argparse.ArgumentParser) -> list[Taken]:
    """Return what follows each option of a parser; of its positional arguments those with choices, under ""."""
    taken = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) or action.dest == "words":
            continue
        words = tuple(map(str, action.choices or _wordsOf(action.dest)))
        isFile = action.metavar in NAMES_OF_FILES
        for option in action.option_strings or ([""] if words else []):
            taken.append(Taken(option, str(action.help or ""), action.nargs == 0, words, isFile))
    return taken


def _wordsOf(dest: str) -> Iterable[str]:
    """Return the beginnings of what options take whose words the parser does not know."""
    if dest == "overrides":
        from psfmatch.config import listFields
        from psfmatch.frontdoor import frontDoorConfig

        return (f"{field.path}=" for field in listFields(frontDoorConfig()))
    if dest == "gates":
        from psfmatch.quality import gateNames

        return (f"{name}=" for name in gateNames())
    return ()


def _bash(commands: dict[str, str], taken: dict[str, list[Taken]]) -> str:
    lists: dict[tuple[str, ...], str] = {}
    return f"""# Completion of psfmatch for bash.
_psfmatch() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command=- words= word
    # bash takes = for a word of its own.
    [[ $current == = ]] && current=
    [[ $previous == = ]] && previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        [[ $word != -* ]] && command=$word && break
    done
    COMPREPLY=()
    LISTS
    case $command:$previous in
{_cases(commands, taken, lists, 'words="{}"', "compopt +o default", '[[ $current == -* ]] && words="{}" || words="{}"')}
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [[ ${{COMPREPLY[0]:-}} == *= ]] && compopt -o nospace
    return 0
}}
complete -o default -F _psfmatch psfmatch
""".replace("LISTS", "\n    ".join(f'local {name}="{" ".join(words)}"' for words, name in lists.items()))


def _zsh(commands: dict[str, str], taken: dict[str, list[Taken]]) -> str:
    lists: dict[tuple[str, ...], str] = {}
    return f"""#compdef psfmatch
# Completion of psfmatch for zsh.
_psfmatch() {{
    local command=- word
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        [[ $word != -* ]] && command=$word && break
    done
    LISTS
    case $command:${{words[CURRENT-1]}} in
{
        _cases(
            commands,
            taken,
            lists,
            "_psfmatch_words {}; return",
            "_message value; return",
            "if [[ $PREFIX == -* ]]; then _psfmatch_words {}; return; else _psfmatch_words {} && return; fi",
        )
    }
    esac
    _files
}}
_psfmatch_words() {{
    local -a withValue plain
    local word
    for word in ${{=*}}; do
        [[ $word == *= ]] && withValue+=($word) || plain+=($word)
    done
    compadd -- $plain
    compadd -S "" -- $withValue
    (( $# ))
}}
compdef _psfmatch psfmatch
""".replace("LISTS", "\n    ".join(f'local {name}="{" ".join(words)}"' for words, name in lists.items()))


def _cases(
    commands: dict[str, str],
    taken: dict[str, list[Taken]],
    lists: dict[tuple[str, ...], str],
    ofWords: str,
    ofOthers: str,
    ofNone: str,
) -> str:
    """Return the cases COMMAND:PREVIOUS of a shell: what follows an option with words, with others, and no option.

    Long lists of words are put into `lists`, with the names of their variables.
    """

    def inline(words: tuple[str, ...]) -> str:
        if len(words) < LONG:
            return " ".join(words)
        return "$" + lists.setdefault(words, f"list{len(lists)}")

    cases = []
    for command, options in taken.items():
        for option in options:
            if option.option and not option.isFlag and not option.isFile:
                words = ofWords.format(inline(option.words)) if option.words else ofOthers
                cases.append(f"        {command or '-'}:{option.option}) {words} ;;")
    for command, options in taken.items():
        plain = [*(commands if not command else ()), *(word for one in options if not one.option for word in one.words)]
        names = tuple(option.option for option in options if option.option)
        cases.append(f"        {command or '-'}:*) {ofNone.format(inline(names), ' '.join(plain))} ;;")
    return "\n".join(cases)


def _fish(commands: dict[str, str], taken: dict[str, list[Taken]]) -> str:
    lines = ["# Completion of psfmatch for fish."]
    for name, told in commands.items():
        lines.append(f"complete -c psfmatch -n __fish_use_subcommand -f -a {name} -d {_quoted(told)}")
    for command, options in taken.items():
        when = f"'__fish_seen_subcommand_from {command}'" if command else "__fish_use_subcommand"
        for option in options:
            if not option.option:
                lines.append(f"complete -c psfmatch -n {when} -f -a {_quoted(' '.join(option.words))}")
                continue
            letters = option.option.lstrip("-")
            isLong = option.option.startswith("--")
            name = f"-{'l' if isLong else 's' if len(letters) == 1 else 'o'} {letters}"
            value = "" if option.isFlag else " -r" if option.isFile else " -x"
            words = f" -a {_quoted(' '.join(option.words))}" if option.words and not option.isFlag else ""
            told = option.help.replace("%(default)s", "").replace("%%", "%").partition(";")[0]
            lines.append(f"complete -c psfmatch -n {when} {name}{value}{words} -d {_quoted(told)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: dict[str, Callable[[dict[str, str], dict[str, list[Taken]]], str]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
