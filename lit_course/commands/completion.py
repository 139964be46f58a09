"""``lit-course completion``: a script with which bash and zsh complete the command line.

It holds all words itself: to ask the program at every key would import torch at every key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lit_course.closed_table import DATAMODULES, MODULES
from lit_course.commands.export_formats import FORMATS
from lit_course.commands.schema import Schema, run_schema
from lit_course.course.contents import CONTENTS
from lit_course.messages import UsageError

USAGE = """\
usage: lit-course completion {bash,zsh}   print a script for the shell
  bash: lit-course completion bash > ~/.local/share/bash-completion/completions/lit-course
  zsh:  lit-course completion zsh > ~/.lit-course.zsh, and in ~/.zshrc after compinit:
        source ~/.lit-course.zsh"""
# zsh runs functions made for bash.
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
SCRIPT = """\
_lit_course() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}}
  local model= data= words= i
  COMPREPLY=()
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}; fi
  for ((i = 1; i < COMP_CWORD - 1; i++)); do
    case ${{COMP_WORDS[i]}} in
      --model) model=${{COMP_WORDS[i+1]}} ;;
      --data) data=${{COMP_WORDS[i+1]}} ;;
    esac
  done
  if [[ $COMP_CWORD == 1 ]]; then
    words='{commands} --help --version'
  elif [[ $verb == completion ]]; then
    words='bash zsh'
  elif [[ $verb == lesson ]]; then
    words='{lessons} --runs --data --quick'
  elif [[ $verb == init || $verb == schema ]]; then
    return 0
  elif [[ $verb == compare ]]; then
    [[ $cur == -* ]] || return 0
    words='--runs --metric --x --format --output --picture --overwrite --help'
  else
    case $prev in
      {values}
      {switches}) words= ;;
      -*) return 0 ;;
    esac
    if [[ -z $words ]]; then
      words='{flags}'
      case $verb in
        predict) words+=' --output --overwrite' ;;
        export) words+=' --output --overwrite --format' ;;
        schedule) words+=' --output --overwrite --metric --curve' ;;
        lr_find) words+=' --output --overwrite --min_lr --max_lr --steps --apply' ;;
      esac
      case $model in
        {model_flags}
      esac
      case $data in
        {data_flags}
      esac
    fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _lit_course lit-course
"""
SWITCHES = ("--debug", "--help", "--print_config", "--overwrite")


def print_completion(args: Sequence[str], commands: Sequence[str]) -> None:
    """Print the script of a shell.

    Args:
        args: What follows ``completion`` on the command line.
        commands: All commands of the program.

    Raises:
        UsageError: If that is not the name of a shell.
    """
    if args and args[0] in ("-h", "--help"):
        print(USAGE)
    elif list(args) not in (["bash"], ["zsh"]):
        raise UsageError(f"completion takes a shell, found {' '.join(args) or 'none'}\n{USAGE}")
    else:
        print((ZSH if args[0] == "zsh" else "") + completion_script(commands), end="")


def completion_script(commands: Sequence[str]) -> str:
    """The script, in what bash and zsh's bashcompinit have in common."""
    schema = run_schema()
    parts: dict[str, Mapping[str, type]] = {"model": MODULES, "data": DATAMODULES}
    top = {name: of for name, of in schema["properties"].items() if name not in parts}
    values = dict(_values("", top))
    values["--ckpt_path"] = ["best", "last"]
    values["--format"] = list(FORMATS)
    flags = ["--config", *SWITCHES[:-1], *_flags("", top)]
    for part, classes in parts.items():
        values[f"--{part}"] = list(classes)
        flags.append(f"--{part}")
        for name in classes:
            found = _values(f"{part}.", schema["$defs"][name]["properties"])
            for flag, words in found:  # of several classes with such an argument, all
                values[flag] = list(dict.fromkeys([*values.get(flag, []), *words]))
    return SCRIPT.format(
        commands=" ".join(commands),
        lessons=" ".join(map(str, CONTENTS)),
        values="\n      ".join(f"{flag}) words='{' '.join(w)}' ;;" for flag, w in values.items()),
        switches="|".join(SWITCHES),
        flags=" ".join(flags),
        **{f"{part}_flags": _by_class(part, classes, schema) for part, classes in parts.items()},
    )


def _flags(prefix: str, properties: Schema) -> Iterator[str]:
    for name, of in properties.items():
        if of.get("properties"):
            yield from _flags(f"{prefix}{name}.", of["properties"])
        else:
            yield f"--{prefix}{name}"


def _values(prefix: str, properties: Schema) -> Iterator[tuple[str, list[str]]]:
    """Flags with the words that they take, those of which all are known."""
    for name, of in properties.items():
        if of.get("properties"):
            yield from _values(f"{prefix}{name}.", of["properties"])
        elif words := _words(of):
            yield f"--{prefix}{name}", words


def _words(of: Schema) -> list[str]:
    some: list[Any] = of.get("enum", [])
    types = [of["type"]] if isinstance(of.get("type"), str) else of.get("type", [])
    words = [str(value) for value in some]
    words += ["true", "false"] if "boolean" in types else []
    for part in of.get("anyOf", []):
        words += _words(part)
    return list(dict.fromkeys(words))


def _by_class(part: str, classes: Mapping[str, type], schema: Schema) -> str:
    """A class's own flags where it is named, those of all where none is."""
    own = {
        name: [f"--{part}.help", *_flags(f"{part}.", schema["$defs"][name]["properties"])]
        for name in classes
    }
    own["''"] = list(dict.fromkeys(flag for flags in own.values() for flag in flags))
    pattern = {name: name if name == "''" else f"{name}|*.{name}" for name in own}
    lines = [f"{pattern[name]}) words+=' {' '.join(flags)}' ;;" for name, flags in own.items()]
    return "\n        ".join(lines)
