"""Numbers out of Prometheus' text format, as `/metrics` gives them: no package is needed to read them back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class MetricSample(NamedTuple):
    """One sample."""

    name: str
    labels: Mapping[str, str]
    value: float


def numbers(text: str) -> Iterator[MetricSample]:
    """The samples of an exposition; lines that are none are passed over."""
    for line in text.splitlines():
        if (found := _SAMPLE.match(line)) is None or line.startswith("#"):
            continue
        try:
            value = float(found.group(3))
        except ValueError:
            continue
        yield MetricSample(found.group(1), dict(_LABEL.findall(found.group(2) or "")), value)


def summed(samples: Iterable[MetricSample], name: str, label: str) -> dict[str, float]:
    """The samples of a name, summed by a label."""
    sums: dict[str, float] = {}
    for one in samples:
        if one.name == name and label in one.labels:
            sums[one.labels[label]] = sums.get(one.labels[label], 0.0) + one.value
    return sums
