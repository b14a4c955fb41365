"""Cogfy's stand-in, served to the real client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.enrichment import Cogfy, cogfy


@pytest.fixture
def there() -> Iterator[Cogfy]:
    """A collection with all cells that models fill."""
    with cogfy() as made:
        yield made
