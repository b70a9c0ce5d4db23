"""Figures as SVG, made by hand: small, crisp in print, readable without colour.

Looks are classes of a style sheet (``style.py``), so that a page can be light or dark. What lines
mean stands above each panel with a sample of the line; lines differ in dashes, areas in hatching.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise

import numpy as np

from stoker.reports.figure import (
    Figure,
    Floats,
    Layer,
    Mark,
    Panel,
    legend,
    nice_ticks,
    number_text,
    thinned,
    time_text,
    time_ticks,
)
from stoker.reports.style import PATTERNS, asset

WIDTH = 960
_LEFT, _RIGHT, _HEAD, _GAP, _FOOT = 54, 14, 30, 14, 34
_MOST_POINTS = 1600  # of a curve: more than there are pixels
_LETTER = 6.3  # pixels of a letter of a legend, about


def draw(figure: Figure, *, alone: bool = False) -> str:
    """An ``<svg>`` element; *alone* with its style sheet, to be a file of its own."""
    height = sum(_HEAD + panel.height + _GAP for panel in figure.panels) + _FOOT - _GAP
    says = escape(figure.says or figure.title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f' class="figure" aria-label="{says}">',
        f"<style>{asset('figure.css')}</style>" if alone else "",
        f"<title>{escape(figure.title)}</title>",
        PATTERNS if alone else "",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>' if alone else "",
    ]
    top = 0
    for panel in figure.panels:
        parts.append(_Drawing(figure, panel, top + _HEAD).drawn())
        top += _HEAD + panel.height + _GAP
    parts += [_x_labels(figure, height - _FOOT), "</svg>"]
    return "".join(parts)


def _x_ticks(figure: Figure) -> list[float]:
    low, high = figure.x_limits
    return time_ticks(low, high, 9) if figure.x_is_time else nice_ticks(low, high, 8)


def _across(figure: Figure, x: float | Floats) -> float | Floats:
    low, high = figure.x_limits
    return _LEFT + (x - low) / ((high - low) or 1.0) * (WIDTH - _LEFT - _RIGHT)


def _x_labels(figure: Figure, y: float) -> str:
    ticks = _x_ticks(figure)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    parts = []
    for tick in ticks:
        text = time_text(tick, step) if figure.x_is_time else number_text(tick)
        parts.append(
            f'<text class="tick" x="{_across(figure, tick):.1f}" y="{y + 13}" '
            f'text-anchor="middle">{text}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle:.0f}" y="{y + 28}" text-anchor="middle">'
        f"{escape(figure.x_label)}</text>"
    )
    return "".join(parts)


class _Drawing:
    """One panel at its place."""

    def __init__(self, figure: Figure, panel: Panel, top: int) -> None:
        self._figure, self._panel, self._top = figure, panel, top
        self._low, self._high = panel.limits()

    def drawn(self) -> str:
        return "".join(
            [
                "<g>",
                self._heading(),
                self._grid(),
                *(self._layer(layer) for layer in self._panel.layers),
                self._rules(),
                *(self._mark(mark) for mark in self._panel.marks),
                "</g>",
            ]
        )

    def _y(self, value: float | Floats) -> float | Floats:
        share = (value - self._low) / ((self._high - self._low) or 1.0)
        return self._top + self._panel.height * (1 - share)

    def _heading(self) -> str:
        panel = self._panel
        unit = f' <tspan class="unit">{escape(panel.unit)}</tspan>' if panel.unit else ""
        place = f'x="{_LEFT}" y="{self._top - 10}"'
        parts = [f'<text class="heading" {place}>{escape(panel.title)}{unit}</text>']
        at = float(WIDTH - _RIGHT)
        for kind, style, label in reversed(legend(panel)):
            at -= len(label) * _LETTER
            y = self._top - 14
            parts.append(f'<text class="legend" x="{at:.1f}" y="{y + 4}">{escape(label)}</text>')
            at -= 24
            if kind in {"area", "band"}:
                box = f'x="{at:.1f}" y="{y - 5}" width="18" height="10"'
                parts.append(f'<rect class="{style} {kind}" {box}/>')
            else:
                parts.append(f'<path class="{style} curve" d="M{at:.1f} {y}h18"/>')
            at -= 14
        return "".join(parts)

    def _grid(self) -> str:
        panel, right = self._panel, WIDTH - _RIGHT
        bottom = self._top + panel.height
        parts = []
        count = max(panel.height // 34, 2)
        for tick in nice_ticks(self._low, self._high, count, integers=panel.integers):
            y = self._y(tick)
            text = f"{tick:.0%}" if panel.percent else number_text(tick)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            place = f'x="{_LEFT - 7}" y="{y + 3.5:.1f}" text-anchor="end"'
            parts.append(f'<text class="tick" {place}>{text}</text>')
        for tick in _x_ticks(self._figure):
            x = _across(self._figure, tick)
            parts.append(f'<path class="grid" d="M{x:.1f} {self._top}V{bottom}"/>')
        parts.append(f'<path class="base" d="M{_LEFT} {bottom}H{right}"/>')
        return "".join(parts)

    def _layer(self, layer: Layer) -> str:
        pieces = []
        for x, y, low in _unbroken(layer):
            if layer.kind == "steps":
                pieces.append(f'<path class="{layer.style} curve" d="{self._stairs(x, y)}"/>')
            elif layer.kind == "line":
                pieces.append(f'<path class="{layer.style} curve" d="{self._path(x, y)}"/>')
            elif layer.kind == "area":
                base = self._y(self._low)
                first, last = (_across(self._figure, float(x[at])) for at in (0, -1))
                path = f"M{first:.1f} {base:.1f}L{self._path(x, y)[1:]}L{last:.1f} {base:.1f}Z"
                pieces.append(f'<path class="{layer.style} area" d="{path}"/>')
            elif low is not None:
                there, back = self._path(x, y), self._path(x[::-1], low[::-1])
                pieces.append(f'<path class="{layer.style} band" d="{there}L{back[1:]}Z"/>')
        return "".join(pieces)

    def _path(self, x: Floats, y: Floats) -> str:
        points = zip(self._places(x), self._levels(y), strict=True)
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points)

    def _stairs(self, x: Floats, y: Floats) -> str:
        places, levels = self._places(x), self._levels(y)
        path = [f"M{places[0]:.1f} {levels[0]:.1f}"]
        for at in range(1, len(places)):
            path.append(f"H{places[at]:.1f}")
            if levels[at] != levels[at - 1]:
                path.append(f"V{levels[at]:.1f}")
        return "".join(path)

    def _places(self, x: Floats) -> list[float]:
        return list(map(float, np.asarray(_across(self._figure, x))))

    def _levels(self, y: Floats) -> list[float]:
        clipped = np.clip(y, self._low, self._high)
        return list(map(float, np.asarray(self._y(clipped))))

    def _rules(self) -> str:
        parts = []
        for rule in self._panel.rules:
            if not self._low <= rule.y <= self._high:
                continue
            y = self._y(rule.y)
            parts.append(
                f'<path class="rule" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
                f'<text class="ruled" x="{_LEFT + 4}" y="{y - 4:.1f}">{escape(rule.label)}</text>'
            )
        return "".join(parts)

    def _mark(self, mark: Mark) -> str:
        x = _across(self._figure, mark.x)
        y = self._y(min(max(mark.y, self._low), self._high))
        label = ""
        if mark.label:
            near_end = x > WIDTH - _RIGHT - 160
            anchor, dx = ("end", -8) if near_end else ("start", 8)
            label = (
                f'<text class="label" x="{x + dx:.1f}" y="{y + 15:.1f}" text-anchor="{anchor}">'
                f"{escape(mark.label)}</text>"
            )
        return (
            f'<g class="mark {mark.style}" tabindex="0" data-tip="{escape(mark.text)}">'
            f"<title>{escape(mark.text)}</title>{_shape(mark.style, x, y)}</g>{label}"
        )


def _shape(style: str, x: float | Floats, y: float | Floats) -> str:
    """Circles for runs and decisions, squares and diamonds for baselines."""
    if style == "baseline":
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>'
    if style == "bound":
        return f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5l-6.5 6.5l-6.5 -6.5Z"/>'
    radius = 3.2 if style == "decision" else 5.5
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _unbroken(layer: Layer) -> list[tuple[Floats, Floats, Floats | None]]:
    """The stretches of a layer between its gaps, thinned to what can be seen."""
    if layer.low is not None:
        good = np.isfinite(layer.y) & np.isfinite(layer.low)
    else:
        good = np.isfinite(layer.y)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    pieces = []
    for begin, end in pairwise(edges.tolist()):
        if not good[begin]:
            continue
        x, y = layer.x[begin:end], layer.y[begin:end]
        low = None if layer.low is None else layer.low[begin:end]
        if low is None:
            x, y = thinned(x, y, _MOST_POINTS)
        pieces.append((x, y, low))
    return pieces
