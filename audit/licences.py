"""The licences of what is shipped: each must let others use, change and pass on the sidecar as its own licence does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution
from typing import Final

# Permissive ones, by SPDX and by the names that older packages use for them.
PERMITTED: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0", "Unlicense"),
        *("Apache 2", "Apache 2.0", "Apache License 2.0", "Apache Software License"),
        *("BSD", "BSD License", "BSD-3-Clause License", "MIT License", "PSF", "Python Software Foundation License"),
    }
)

_CLASSIFIER: Final = re.compile(r"License ::(?: OSI Approved ::)? (.+)")


def complaints(shipped: Mapping[str, Distribution]) -> Iterator[str]:
    """Packages whose licence is not permitted, or not told."""
    for name, package in shipped.items():
        licence = licence_of(package)
        if not licence:
            yield f"{name}: does not say what its licence is"
        elif not permitted(licence):
            yield f"{name}: its licence is {licence}, which is not on the list of those permitted"


def licence_of(package: Distribution) -> str:
    """What a package says of its licence: an SPDX expression, or one made of what it says in older ways."""
    told = package.metadata
    for expression in told.get_all("License-Expression", []):
        return str(expression)
    classifiers = [match[1] for line in told.get_all("Classifier", []) if (match := _CLASSIFIER.fullmatch(line))]
    named = [name for name in classifiers if name != "OSI Approved"]
    return " AND ".join(named or [str(text).strip() for text in told.get_all("License", [])])


def permitted(expression: str) -> bool:
    """Whether one of the choices of an expression, of several `OR`, is permitted as a whole."""
    choices = re.split(r"\s+OR\s+", expression.replace("(", "").replace(")", ""))
    return any(all(part in PERMITTED for part in re.split(r"\s+AND\s+", choice)) for choice in choices)
