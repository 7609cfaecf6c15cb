"""Settings as command-line options: one flag each, derived from the settings themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

import rich_click as click

from greenroom.service.settings import ENV_PREFIX, Settings, flag_name

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(names: Iterable[str] | None = None) -> Callable[[F], F]:
    """Add a flag for each of the named settings; None means all."""
    wanted = None if names is None else set(names)

    def decorate(function: F) -> F:
        for one in reversed(fields(Settings)):
            if wanted is None or one.name in wanted:
                text = f"{one.metadata['help']} [{ENV_PREFIX}{one.name.upper()}]"
                function = click.option(flag_name(one.name), one.name, default=None, help=text)(function)
        return function

    return decorate


def read_settings(flags: dict[str, str | None]) -> Settings:
    """The settings of this process: flags, then environment, then defaults.

    Raises:
        InvalidInput: naming the setting, for a value that cannot be or a variable that is none.
    """
    return Settings.read(os.environ, flags)
