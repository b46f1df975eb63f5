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
    """Return the operator of each aggregation in *expression*, and what stands in it and in none within it.

    What stands in none at all comes last, under no operator.
    """
    expression = _STRING.sub('""', expression)
    found, outside, at = [], "", 0
    while match := _AGGREGATION.search(expression, at):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(expression[end], 0)
            end += 1
        *inner, own = aggregations(expression[match.end() : end - 1])
        found += [*inner, (match[1], own[1])]
        outside += expression[at : match.start()]
        at = end
    return [*found, (None, outside + expression[at:])]
