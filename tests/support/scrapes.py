"""What Prometheus makes of two scrapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from prometheus_client import Metric

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(families: Iterable[Metric]) -> Series:
    """What one scrape finds."""
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def increase(before: Series, after: Series, name: str, **patterns: str) -> float:
    """`sum(increase(name{label=~pattern}[…]))` as Prometheus sees two scrapes: a series that was absent has none."""
    return sum(
        after[series] - before[series]
        for series in before.keys() & after.keys()
        if series[0] == name
        and all(re.fullmatch(patterns[label], value) for label, value in series[1] if label in patterns)
    )
