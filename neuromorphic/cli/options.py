"""Options that the entries of a registry ask for, as flags of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

import typer

from neuromorphic.executors.entry import Option


class _Entry(Protocol):
    """An executor or a format."""

    @property
    def options(self) -> tuple[Option, ...]: ...


Registry = Mapping[str, _Entry]


def _flags(registry: Registry) -> dict[str, dict[str, Option]]:
    """Return what the entries of a registry can be told, by flag and by entry."""
    flags: dict[str, dict[str, Option]] = {}
    for name, entry in registry.items():
        for option in entry.options:
            flags.setdefault(option.flag, {})[name] = option
    return flags


def _parameter_name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _parameter(flag: str, of: Mapping[str, Option]) -> inspect.Parameter:
    """Return a flag as a parameter of a command; its help says what each entry understands by it."""
    names: dict[str, list[str]] = {}
    for name, option in of.items():
        names.setdefault(option.help, []).append(name)
    text = "; ".join(f"{', '.join(those)}: {meaning}" for meaning, those in names.items())
    first = next(iter(of.values()))
    told = typer.Option(flag, help=text.removesuffix(".") + ".", min=first.minimum)
    return inspect.Parameter(
        _parameter_name(flag),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[first.type | None, told],
    )


def with_options_of(registry: Registry) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put the flags of all entries where a command has ``**told``."""

    def changed(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        flags = [_parameter(flag, of) for flag, of in _flags(registry).items()]
        ordered = sorted([*flags, *own], key=lambda one: one.kind)  # flags before the command's own keyword-only --json
        command.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
        return command

    return changed


def told_options(registry: Registry, chooser: str, chosen: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the chosen entry is told, refusing what is for others; ``chooser`` is the flag that chose it."""
    if chosen not in registry:
        raise typer.BadParameter(f"{chooser} must be one of {', '.join(registry)}, got {chosen!r}")
    options = {}
    for flag, of in _flags(registry).items():
        value = told[_parameter_name(flag)]
        if value is not None and chosen not in of:
            raise typer.BadParameter(f"{flag} is for {chooser} {' or '.join(of)}, got {chooser} {chosen}")
        if value is not None:
            options[of[chosen].name] = value
    return options
