"""What every command line here shares: text to values, unknown flags refused, errors as one message."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Any

import fire
from fire.decorators import SetParseFn

from bundle.data.names import name_list, nearest_name


def run(command: Callable[..., int | None], quoting: Sequence[str] = ()) -> None:
    """Runs `command` with the arguments of the command line, all as text, and exits with what it returns.

    Its first parameters may be given by position, keyword-only ones by ``--name``. Fire calls a command first
    and complains about flags it does not know afterwards, so those are collected and refused before. A
    `ValueError` or `FileNotFoundError` is a message to the user: it is printed without a traceback and the
    exit status is 1.

    Args:
        command: what to run.
        quoting: those of its flags that take other programs' flags in quotes; an unknown flag may belong there.
    """
    if {"--help", "-h"} & set(sys.argv[1:]):  # fire's own help speaks of its wrapping
        print(inspect.getdoc(command))
        return
    parameters = list(inspect.signature(command).parameters.values())
    by_position = [p for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
    by_name = [p for p in parameters if p.kind is Parameter.KEYWORD_ONLY]

    @wraps(command)
    def checked(*values: str, **flags: str) -> None:
        try:
            if len(values) > len(by_position):
                raise ValueError(
                    f"{values[len(by_position)]!r} has no flag in front (text with spaces goes in quotes); known "
                    f"flags: {_flags(by_name)}"
                )
            flags = {_long(flag, by_name): value for flag, value in flags.items()}
            for flag in flags:
                if flag not in [p.name for p in parameters]:
                    near = nearest_name(flag, [p.name for p in by_name])
                    raise ValueError(
                        f"flag --{flag} is unknown{_in_quotes(quoting, flag, flags[flag])}; {near}"
                    )
            status = command(*values, **flags)
        except (ValueError, FileNotFoundError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        sys.exit(status or 0)

    others = Parameter("others", Parameter.VAR_POSITIONAL), Parameter("unknown", Parameter.VAR_KEYWORD)
    seen_by_fire = inspect.Signature([*by_position, others[0], *by_name, others[1]])
    checked.__signature__ = seen_by_fire  # type: ignore[attr-defined]
    fire.Fire(SetParseFn(str)(checked), command=_joined(sys.argv[1:]))


def whole(name: str, value: Any) -> int | None:
    """An integer, or ``None`` for none, null or nothing."""
    return None if _is_none(value) else int(_number(name, value, int))


def number(name: str, value: Any) -> float:
    return float(_number(name, value, float))


def numbers(name: str, value: Any, kind: type[int] | type[float] = float) -> list[Any]:
    """``0.7,0.1,0.2`` as a list; one value is a list of one."""
    return [_number(name, part, kind) for part in name_list(value)]


def switch(name: str, value: Any) -> bool:
    """A flag that is on (``--name``) or off (``--noname``)."""
    if str(value).lower() not in ("true", "false"):
        raise ValueError(f"--{name} is {value!r}, expected nothing behind it; it is a switch")
    return str(value).lower() == "true"


def text(value: Any) -> str | None:
    return None if _is_none(value) else str(value)


def output_folder(value: Any) -> Path:
    """The folder of ``--output_dir``, made if it is missing."""
    folder = Path(str(value))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--output_dir {folder}: expected a folder that can be written, found none ({error.strerror}); give another"
        ) from None
    if not os.access(folder, os.W_OK):
        raise ValueError(
            f"--output_dir {folder}: expected a folder that can be written, found one that can't; give another"
        )
    return folder


def quoted_flags(name: str, value: str | None) -> dict[str, Any]:
    """``"--width 16 --epochs 8"`` as ids and values."""
    words = shlex.split(text(value) or "")
    if len(words) % 2 or any(not word.startswith("--") for word in words[::2]):
        raise ValueError(f'--{name} is {value!r}, expected pairs such as "--width 16 --epochs 8"')
    return {flag.removeprefix("--"): found for flag, found in zip(words[::2], words[1::2], strict=True)}


def _is_none(value: Any) -> bool:
    return value is None or str(value).lower() in ("none", "null", "")


def _number(name: str, value: Any, kind: type[int] | type[float]) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError):
        wanted = "a whole number" if kind is int else "a number"
        raise ValueError(f"--{name} is {value!r}, expected {wanted}; correct it") from None


def _long(flag: str, parameters: list[Parameter]) -> str:
    """The flag that one letter stands for, as fire's help shows it, if only one begins with it."""
    meant = [p.name for p in parameters if p.name[0] == flag]
    return meant[0] if len(meant) == 1 else flag


def _joined(words: list[str]) -> list[str]:
    """Quoted flags are one value, which fire would take for a flag: ``--options "--width 2"``."""
    joined: list[str] = []
    for word in words:
        if word.startswith("--") and " " in word.split("=")[0] and joined and joined[-1].startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _in_quotes(quoting: Sequence[str], flag: str, value: str) -> str:
    """Where an unknown flag may belong."""
    places = [f'--{name} "--{flag} {value}"' for name in quoting]
    return f"; a config id goes in quotes: {' or '.join(places)}" if places else ""


def _flags(parameters: list[Parameter]) -> str:
    return ", ".join(f"--{p.name}" for p in parameters)
