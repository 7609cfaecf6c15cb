"""`MODULE:NAME`: the keyspaces of a program, found in its own module."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from typing import Any

from greenroom.argument_types import type_name
from greenroom.declarations import Declarations
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.registry import Keyspaces
from greenroom.printable import printable
from greenroom.room_caches import RoomCaches

FORM = "write it like shop.keys:SHOP, where SHOP is a room, Keyspaces(…), or a list of keyspaces"


def declared_at(argument: str, text: str) -> Declarations:
    """What `MODULE:NAME` declares. The module is looked for in the current directory first.

    Arguments:
        argument: how the command line calls it; errors begin with it.

    Raises:
        InvalidInput: for a text of another form, a module that cannot be imported, and a name that is not there or
            declares nothing.
    """
    module_name, colon, name = text.partition(":")
    if not (colon and all(map(str.isidentifier, [*module_name.split("."), *name.split(".")]))):
        raise InvalidInput(argument, f"{text!r:.120} names no object of a module", FORM)
    found: Any = _imported(argument, module_name)
    for word in name.split("."):
        if not hasattr(found, word):
            raise InvalidInput(argument, f"{module_name} has no {name}", _remedy(module_name))
        found = getattr(found, word)
    if isinstance(found, Declarations):
        return found
    declared = getattr(found, "declarations", None)  # a room's, for coroutines or for threads
    if isinstance(declared, Declarations):
        if not (tuple(declared.keyspaces) or declared.beside_caches or declared.beside_sessions):
            raise InvalidInput(
                argument,
                f"{text} is a room without caches, stores, sessions and rate limits",
                "declare them at module level, or where importing the module comes by",
            )
        return declared
    if isinstance(found, Keyspace):
        found = (found,)
    if isinstance(found, Iterable) and not isinstance(found, Keyspaces | str | bytes):
        members = tuple(found)
        if not members or not all(isinstance(one, Keyspace) for one in members):
            kinds = ", ".join(sorted({type_name(one) for one in members if not isinstance(one, Keyspace)}))
            raise InvalidInput(argument, f"{text} holds {kinds or 'nothing'}, and keyspaces are wanted", FORM)
        found = Keyspaces(*members)
    if not isinstance(found, Keyspaces):
        raise InvalidInput(argument, f"{text} is {type_name(found)}, which declares no keyspaces", FORM)
    return Declarations(found)


def _imported(argument: str, name: str) -> Any:
    directory = os.getcwd()
    # First, as `python -m` has it: the program that stands here is meant, and not one of its name elsewhere.
    sys.path.insert(0, directory)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            reason = f"there is no module {error.name} in {directory}, and none is installed"
            remedy = "run this where the program's modules are, or in the environment in which it is installed"
            raise InvalidInput(argument, reason, remedy) from None
        raise InvalidInput(argument, f"importing {name} failed: {printable(str(error))}", "install it") from error
    except Exception as error:  # whatever a program's module does when it is imported
        reason = f"importing {name} failed: {type_name(error)}: {printable(str(error)):.300}"
        raise InvalidInput(argument, reason, f"see `python -c 'import {name}'`") from error
    finally:
        sys.path.remove(directory)


def _remedy(module_name: str) -> str:
    """Names what the module does declare."""
    module = sys.modules[module_name]
    kinds = (Declarations, RoomCaches, Keyspaces, Keyspace)
    names = [name for name, value in vars(module).items() if isinstance(value, kinds) and not name.startswith("_")]
    return f"it has {', '.join(names)}" if names else FORM
