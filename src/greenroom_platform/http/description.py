"""The description of each route, completed from what its code mentions: headers, conditions, ranges and problems.

A new route needs nothing here. What its handler and guards mention is described: the headers of `header_descriptions`,
and the slugs of `problems.KINDS` beside a `Problem`. Its declaration says the rest:

- `operation_class=docs.taking(Draft)` for a body that the handler reads itself;
- `security=` with one of the lists in `docs`, where it is not public;
- `problems=("conflict",)`, with slugs of `problems.KINDS`, for what methods of other objects raise;
- `responses={201: ResponseSpec(…)}` for an answer other than its own;
- `operation_id="readAudio"` where the handler's name is no verb and noun.

`tests/http/test_description.py` fails for an answer, a header or a media type that is not described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import (
    Example,
    OpenAPI,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    Schema,
)
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from greenroom.keyspace.parts import PART_MAX
from greenroom.sessions.refusals import MEDIA_TYPE
from greenroom_platform.domain.searching import TYPED
from greenroom_platform.http.docs import ID, SCHEMAS, openapi
from greenroom_platform.http.handler_words import Words, words_of
from greenroom_platform.http.header_descriptions import SENT, SENT_ALWAYS, TAKEN, TAKEN_ALWAYS, headers, parameters
from greenroom_platform.http.header_descriptions import sent as sent_headers
from greenroom_platform.http.header_descriptions import taken as taken_headers
from greenroom_platform.http.problems import KINDS, ProblemDocument

_OWN = "/health/", "/metrics", "/problems/"
"""What answers whatever else is away."""
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANY = "problem"
_WITHOUT_CONTENT = frozenset({"204", "304"})
_IDS = frozenset({"topic_id", "snippet_id", "podcast_id"})
_QUERIES = {
    "q": Schema(type=OpenAPIType.STRING, min_length=TYPED[0], max_length=TYPED[1]),
    "ids": Schema(
        type=OpenAPIType.STRING,
        pattern=rf"^[A-Za-z0-9._~-]{{1,{PART_MAX}}}(,[A-Za-z0-9._~-]{{1,{PART_MAX}}}){{0,49}}$",
    ),
}
"""Parameters that must be there: the handlers tell of one that is missing."""
_EXAMPLE = ProblemDocument("", "", 0, "What is wrong with this request.", "/api/v1/topics/tech_ai_ethics", "3f9c-17")


def _operation_ids() -> Callable[..., str]:
    """Make the ids of operations: each its handler's name, as a client names a method.

    Where two handlers have one name, the second has its module's before it; `operation_id=` gives it a better one.
    """
    made = set[str]()

    def operation_id(handler: HTTPRouteHandler, *_: Any) -> str:
        name = _method_name(handler.handler_name)
        if name in made:
            module = handler.fn.__module__.rpartition(".")[2]
            name = _method_name(f"{module}_{handler.handler_name}")
        made.add(name)
        return name

    return operation_id


def _method_name(words: str) -> str:
    first, *others = words.split("_")
    return first + "".join(word.title() for word in others)


def of(routes: Sequence[ControllerRouterHandler], bodies: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    """The description of these routes, as OpenAPI has it.

    Arguments:
        bodies: the drafts that handlers read themselves.
    """
    # An application of its own: whatever lies around the one that serves says nothing of its calls.
    app = Litestar(routes, openapi_config=openapi(_operation_ids()), logging_config=None)
    description = app.openapi_schema
    _add_components(description, bodies)
    operations = list(_operations(app))
    for path, method, operation, handler in operations:
        _complete(operation, path, method, handler)
    _remove_unused(description, [operation for _, _, operation, _ in operations])
    return description.to_schema()


def _operations(app: Litestar) -> Iterator[tuple[str, str, Operation, HTTPRouteHandler]]:
    paths = app.openapi_schema.paths or {}
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path_format in paths:
            for handler in route.route_handlers:
                for method in handler.http_methods:
                    operation = getattr(paths[route.path_format], method.lower())
                    if operation is not None:
                        yield route.path_format, method, operation, handler


def _add_components(description: OpenAPI, bodies: Sequence[type[msgspec.Struct]]) -> None:
    components = description.components
    _, schemas = msgspec.json.schema_components([ProblemDocument, *bodies], ref_template=SCHEMAS)
    for body in bodies:
        schemas[body.__name__]["additionalProperties"] = False  # others are 422; see `requests.draft`
        for name in _IDS & schemas[body.__name__]["properties"].keys():
            schemas[body.__name__]["properties"][name] |= ID
    for name, schema in components.schemas.items():
        components.schemas[name] = _without_choices_of_one(schema)
    # Plain JSON is written as it is, like the framework's own dataclasses.
    components.schemas |= cast("dict[str, Schema]", schemas)
    components.parameters, components.headers = parameters(), headers()
    any_other = OpenAPIResponse("Any other problem (RFC 9457).", headers=_sent_with(None), content=_problems())
    by_status: dict[int, list[str]] = {}
    for slug, (status, _, _) in KINDS.items():
        by_status.setdefault(status, []).append(slug)
    responses: dict[str, OpenAPIResponse | Reference] = {
        _component(status): OpenAPIResponse(
            "; ".join(f"{KINDS[slug][1]} (`{slug}`)" for slug in slugs) + ".",
            headers=_sent_with(status),
            content=_problems(*slugs),
        )
        for status, slugs in by_status.items()
    }
    components.responses = {_ANY: any_other, **responses}


def _remove_unused(description: OpenAPI, operations: Iterable[Operation]) -> None:
    """Leave out the problems and headers that no operation refers to."""
    used = set[str]()
    for operation in operations:
        used |= {one.ref for one in operation.parameters or () if isinstance(one, Reference)}
        for response in (operation.responses or {}).values():
            used |= {response.ref} if isinstance(response, Reference) else _headers_of(response)
    components: Any = description.components
    for kind in ("responses", "parameters", "headers"):
        members = {
            name: one for name, one in getattr(components, kind).items() if f"#/components/{kind}/{name}" in used
        }
        setattr(components, kind, members)
        if kind == "responses":
            used = used.union(*map(_headers_of, members.values()))


def _headers_of(response: OpenAPIResponse) -> set[str]:
    return {one.ref for one in (response.headers or {}).values() if isinstance(one, Reference)}


def _without_choices_of_one(schema: Schema) -> Schema:
    """A schema whose optional members are of one type each: the framework makes a choice of them."""
    for name, member in (schema.properties or {}).items():
        if isinstance(member, Schema) and member.one_of is not None and len(member.one_of) == 1:
            cast("dict[str, Any]", schema.properties)[name] = member.one_of[0]
    return schema


def _sent_with(status: int | None) -> dict[str, Any]:
    """The headers of a problem; nobody may keep one."""
    own = [header.name for header in SENT.values() if status in header.statuses]
    return sent_headers(SENT_ALWAYS.name, "Cache-Control", *own)


def _problems(*slugs: str) -> dict[str, OpenAPIMediaType]:
    examples = {slug: Example(summary=KINDS[slug][1], value=_example(slug)) for slug in slugs}
    schema = Reference(SCHEMAS.format(name=ProblemDocument.__name__))
    return {MEDIA_TYPE: OpenAPIMediaType(schema=schema, examples=cast("Any", examples) or None)}


def _example(slug: str) -> Any:
    status, title, advice = KINDS[slug]
    made = msgspec.structs.replace(_EXAMPLE, type=f"/problems/{slug}", title=title, status=status, detail=advice)
    return msgspec.to_builtins(made)


def _component(status: int) -> str:
    return f"{_ANY}-{status}"


def _complete(operation: Operation, path: str, method: str, handler: HTTPRouteHandler) -> None:
    words = words_of([handler.fn, *handler.resolve_guards()])
    operation.security = operation.security or []
    operation.parameters = [
        *(operation.parameters or ()),
        *taken_headers(TAKEN_ALWAYS.name, *(header.name for word, header in TAKEN.items() if word in words.all)),
    ]
    for parameter in operation.parameters:
        if isinstance(parameter, Parameter) and parameter.name in _IDS:
            parameter.schema = Schema(
                type=OpenAPIType.STRING, pattern=ID["pattern"], min_length=ID["minLength"], max_length=ID["maxLength"]
            )
        elif isinstance(parameter, Parameter) and parameter.name in _QUERIES:
            parameter.schema, parameter.required = _QUERIES[parameter.name], True
    responses = operation.responses = operation.responses or {}
    responses.pop("400", None)  # the framework's own, which is answered as a problem
    _add_conditions(responses, method, words)
    for status, response in responses.items():
        if isinstance(response, OpenAPIResponse):
            if status in _WITHOUT_CONTENT:
                response.content = None
            for media_type, content in (response.content or {}).items():
                if media_type.startswith("audio/"):
                    content.schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
            own = [header.name for word, header in SENT.items() if _is_sent(word, int(status), words)]
            response.headers = sent_headers(SENT_ALWAYS.name, *own)
    for slug in _problems_of(operation, path, method, handler, words):
        responses.setdefault(str(KINDS[slug][0]), Reference(f"#/components/responses/{_component(KINDS[slug][0])}"))
    responses["default"] = Reference(f"#/components/responses/{_ANY}")
    operation.responses = dict(sorted(responses.items()))


def _is_sent(word: str, status: int, words: Words) -> bool:
    if word == "retry-after":
        # Beside a problem, elsewhere: it is of its answer.
        return "retry_after" in words.all and status in SENT[word].statuses
    return word in words.all and status in SENT[word].statuses


def _add_conditions(responses: Any, method: str, words: Words) -> None:
    """The answers that a condition or a range of the request leads to (RFC 9110, sections 13 and 14)."""
    if method != "GET":
        return
    if "if-none-match" in words.all:
        responses["304"] = OpenAPIResponse("The client already has the current version.")
    if "range" in words.all:
        responses["206"] = OpenAPIResponse("The requested range.", content=responses["200"].content)


def _problems_of(
    operation: Operation, path: str, method: str, handler: HTTPRouteHandler, words: Words
) -> Iterator[str]:
    """The slugs of what a route raises, and of what is raised around it."""
    yield from words.problems & KINDS.keys()
    yield from handler.opt.get("problems", ())
    declared = {one.name: one.param_in for one in operation.parameters or () if isinstance(one, Parameter)}
    if "query" in declared.values() or declared.keys() & _IDS:
        yield "invalid-input"
    if operation.request_body is not None:
        yield from ("too-large", "malformed-json", "invalid-input")
    if handler.resolve_guards():
        yield from ("unauthorized", "too-many-requests")
    if any("session" in scheme for scheme in operation.security or ()):
        yield from ("unauthorized", "forbidden")
    if not path.startswith(_OWN):
        yield "unavailable"
    if method in _UNSAFE:
        yield "forbidden"  # a page of another origin has sent it
    if method in _UNSAFE and "if-match" in words.all:
        yield "precondition-failed"
