"""dogpile.cache over a room, run twice it makes nothing anew: `python only_dogpile.py`; VALKEY_URL, or embedded."""

import os

from dogpile.cache import make_region

import greenroom.integrations.dogpile  # noqa: F401  registers the backend
from greenroom.sync import Greenroom

room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
region = make_region().configure(
    "greenroom", expiration_time=300, arguments={"room": room, "ttl": 3600, "distributed_lock": True}
)


@region.cache_on_arguments()
def square(number: int) -> int:
    print("made", number)  # once in all processes
    return number * number


if __name__ == "__main__":
    print([square(number) for number in (3, 4, 3)])
    square.invalidate(3)  # type: ignore[attr-defined]  # in all processes
    print(square(3))
