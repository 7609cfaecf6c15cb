"""A `KEY_FUNCTION`."""


def upper(key: str, prefix: str, version: int) -> str:
    """Another form than Django's own."""
    return f"{prefix}/{version}/{key}".upper()
