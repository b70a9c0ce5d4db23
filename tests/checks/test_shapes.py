"""How many elements a query can have, from its text alone."""

from __future__ import annotations

import promql_parser
import pytest

from stoker.checks.shapes import Kind, shape


@pytest.mark.parametrize(
    "query",
    [
        "sum(a)", "(sum(a))", "-sum(a)", "sum by () (a)", "count(a)", "max(a) * 2", "2 * max(a)",
        "sum(a) / sum(b)", "sum(a) / on() group_left() sum(b)", "sum(a) > bool 0", "sum(a) > 3",
        'sum by (x) (a{x="1"})', 'sum by (x) (a{x="1"} + b{x="1"})', "topk(1, a)", "vector(1)",
        "absent(a)", "sum(a) or vector(0)", "sum(a) or sum(b)",
        "sum(a) or on() sum by (x) (b{x='1'})",
        "histogram_quantile(0.95, sum by (le) (rate(a_bucket[1m])))", "sum(a) and sum(b)",
        "clamp_max(sum(a), 5)", "round(sum(rate(a[1m])))", "sum(a) unless b", "a + sum(b)",
        "histogram_quantile(0.95, (sum(rate(a_bucket[1m])) by (le)))", "sum(a @ end())",
    ],
)  # fmt: skip
def test_one_element_at_most(query: str) -> None:
    assert shape(promql_parser.parse(query)).is_single


@pytest.mark.parametrize(
    "query",
    [
        "a", "a{x='1'}", "rate(a[1m])", "sum by (x) (a)", "sum without (x) (a)", "a + b", "a > 3",
        "topk(2, a)", "topk(1, a) by (x)", "sum by (x) (a{x='1'} + b)", "count_values('v', a)",
        "sum by (x) (a{x='1'}) or vector(0)", "a and sum(b)", "a * on() group_left() sum(b)",
        "histogram_quantile(0.95, rate(a_bucket[1m]))", "sum by (x) (a{x=~'1|2'})",
        "clamp(a, 0, 1)",
        "histogram_quantile(0.95, sum by (le, pod) (rate(a_bucket[1m])))", "sum(a) or b",
        "avg_over_time(a[5m])", "avg_over_time(sum(a)[5m:1m]) or b",
    ],
)  # fmt: skip
def test_possibly_several_elements(query: str) -> None:
    assert not shape(promql_parser.parse(query)).is_single


@pytest.mark.parametrize(
    ("query", "kind"),
    [("a[5m]", Kind.MATRIX), ("scalar(a)", Kind.SCALAR), ("1 + 2", Kind.SCALAR),
     ("'x'", Kind.STRING), ("time()", Kind.SCALAR), ("a[5m:1m]", Kind.MATRIX), ("a", Kind.VECTOR)],
)  # fmt: skip
def test_the_kind_of_a_result(query: str, kind: Kind) -> None:
    assert shape(promql_parser.parse(query)).kind is kind
