"""Just enough of PromQL for a test to see which metrics stand in which aggregation."""

from __future__ import annotations

import re

_AGGREGATION = re.compile(
    r"\b(sum|avg|count|min|max|group|stddev|stdvar|topk|bottomk|quantile)\b\s*((by|without)\s*\([^)]*\)\s*)?\("
)
_METRIC = re.compile(r"(?<![:\w])tasker_\w+(?!\w*:)")
_STRING = re.compile(r'"[^"]*"|\'[^\']*\'')


def metrics(expression):
    """Return the names of our metrics in *expression*; what a rule has recorded is none."""
    return set(_METRIC.findall(_STRING.sub('""', expression)))


def aggregations(expression):
    """Return the operator and the argument of each innermost aggregation in *expression*."""
    found = []
    for match in _AGGREGATION.finditer(expression):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(expression[end], 0)
            end += 1
        argument = expression[match.end() : end - 1]
        inner = aggregations(argument)
        for _, text in inner:
            argument = argument.replace(text, "")
        found.append((match[1], argument))
    return found
