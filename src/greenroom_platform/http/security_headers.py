"""What every answer tells browsers not to do with it.

The API's answers are data: whoever opens one as a page gets nothing that runs, loads or can be framed. The pages and
that of the documentation load their own files, and nothing of others.
"""

from __future__ import annotations

# Trusted types: the browser itself refuses markup from text, whatever the API sends. Forms are sent by scripts only: a
# form that went by itself would write a password into an address. Pictures are the page's own: an editor's `image_url`
# elsewhere is a link, so that no other host learns who listens.
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
# Swagger UI makes markup from text, styles of its elements, and has its icons in its style sheet.
DOCS_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

Headers = list[tuple[bytes, bytes]]

_ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    # docs/decisions/0074-answers-are-for-their-own-origin.md
    (b"cross-origin-resource-policy", b"same-origin"),
]
# Of documents only: an answer that is no page has neither an opener nor a camera.
_OF_PAGES: Headers = [
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"autoplay=(self), camera=(), display-capture=(), geolocation=(), microphone=(), payment=()",
    ),
    *_ALWAYS,
]
PAGE: Headers = [(b"content-security-policy", PAGE_POLICY.encode()), *_OF_PAGES]
DOCS: Headers = [(b"content-security-policy", DOCS_POLICY.encode()), *_OF_PAGES]
DATA: Headers = [(b"content-security-policy", DATA_POLICY.encode()), *_ALWAYS]
"""The headers of the pages, of the documentation's, and of everything else."""
_PAGES = ("/page/", "/edit/", "/control/")


def headers_for(path: str) -> Headers:
    """The headers that belong to whatever is answered at a path."""
    if path in ("/", "/edit", "/control") or path.startswith(_PAGES):
        return PAGE
    if path == "/docs" or path.startswith("/docs/"):
        return DOCS
    return DATA
