"""What holds for all tests here: what comes before the outage is patient with a busy machine."""

from __future__ import annotations

from tests.support.patience import patience_until_harm as patience_until_harm
