"""Query parameters: each given once, and errors that say what would be accepted."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response
from litestar.exceptions import ValidationException
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from greenroom_platform.http import problems
from greenroom_platform.http.problems import FieldError, Problem, invalid, shown


def once(request: Request[Any, Any, Any]) -> None:
    """Return if no parameter is given twice: which of the two would count?

    Raises:
        Problem: 422, naming the parameter.
    """
    seen = set()
    for name, _value in request.query_params.multi_items():
        if name in seen:
            raise invalid(name, "is given more than once", "give it once")
        seen.add(name)


def answer(request: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    """The answer to parameters that the framework could not convert."""
    names = [str(one["key"]) for one in error.extra] if isinstance(error.extra, list) else []
    declared = request.route_handler.parsed_fn_signature.parameters
    errors = [
        FieldError(name, f"{shown(request.query_params.get(name))} is not a valid value", _accepted(declared[name]))
        for name in names
    ]
    detail = f"{errors[0].field}: {errors[0].reason}" if errors else error.detail
    return problems.answer(request, Problem("invalid-input", detail, errors=errors))


def _accepted(field: FieldDefinition) -> str:
    limits = field.kwarg_definition
    if field.annotation is int and isinstance(limits, ParameterKwarg):
        return f"send a whole number from {limits.ge} to {limits.le:,}"
    return "see /docs for what it takes"
