"""Migration: code for Azure ML as it is after the one change that it needs, the names of the packages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from support.bench import Bench

MOVED = {"azureml.core": "envbuild.sdk", "azureml.train": "envbuild.sdk.train"}
"""What stands in the place of what."""


def moved(code: str) -> str:
    """The same code, for envbuild.

    >>> moved("from azureml.train.estimator import Estimator")
    'from envbuild.sdk.train.estimator import Estimator'
    """
    for before, after in MOVED.items():
        code = re.sub(rf"\b{re.escape(before)}\b", after, code)
    return code


@dataclass
class Reader:
    """Somebody who does what a page shows, block by block, in one session of Python.

    :param names: what they have called things so far; the page leaves some of it to its readers.
    """

    bench: Bench
    names: dict[str, Any] = field(default_factory=dict)

    def does(self, block: str, **names: Any) -> SimpleNamespace:
        """Run a block; what it has made and what was there before, as attributes."""
        self.names |= names
        exec(compile(moved(block), "<page>", "exec"), self.names)
        return SimpleNamespace(**self.names)
