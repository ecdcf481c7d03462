"""Which claim rests on which, drawn in layers: on the left what rests on nothing else, and from there to the right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from eosbench.report.notation import one_line
from eosbench.report.results import Results

_ABSENT = "not in this report"
_LETTERS = 40  # of an id, as drawn
_LETTER = 6.6  # generous width of a letter, in pixels: the reader's font is not known here
_PADDING = 38.0  # what a box holds beside the id: the symbol and its margins
_HEIGHT, _GAP, _PASSAGE = 42.0, 10.0, 16.0  # of a box, between boxes, of a line that passes a layer
_BETWEEN = 48.0  # layers
_SWEEPS = 4

_Key = tuple[str, ...]
"""A place of a layer: a claim's (id,), or for a line that passes the layer (from, to, number of the layer)."""


@dataclass(frozen=True)
class Box:
    """A claim as drawn, by its upper left corner; `verdict` is "not in this report" for one that is only named."""

    id: str
    label: str
    verdict: str
    x: float
    y: float
    width: float
    height: float = _HEIGHT


@dataclass(frozen=True)
class Graph:
    """The claims that use another or are used, and the SVG paths that join each to what it rests on."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]
    uses: Mapping[str, tuple[str, ...]]
    """What each claim rests on, of those that rest on something."""


def graph(results: Results) -> Graph | None:
    """The graph of a run, None where no claim uses another."""
    uses = {claim.id: claim.uses for claim in results.claims if claim.uses}
    if not uses:
        return None
    verdicts = {claim.id: claim.verdict for claim in results.claims}
    layers = _ordered(_layers(uses), uses)
    boxes, middles, x = {}, {}, 1.0
    tallest = max(_extent(layer) for layer in layers)
    ends = []
    for layer in layers:
        labels = {key: one_line(key[0], _LETTERS) for key in layer if len(key) == 1}
        width = _PADDING + _LETTER * max((len(label) for label in labels.values()), default=0)
        y = 1.0 + (tallest - _extent(layer)) / 2
        for key in layer:
            middles[key] = y + _tall(key) / 2
            if key in labels:
                boxes[key] = Box(key[0], labels[key], verdicts.get(key[0], _ABSENT), x, y, width)
            y += _tall(key) + _GAP
        ends.append((x, x + width))
        x += width + _BETWEEN
    number = {key: i for i, layer in enumerate(layers) for key in layer}
    paths = []
    for name, used in _edges(uses):
        stops = [(used,), *_passages(name, used, number), (name,)]
        paths.append(_path([(*ends[number[stop]], middles[stop]) for stop in stops]))
    return Graph(x - _BETWEEN + 1, tallest + 2, tuple(boxes.values()), tuple(paths), uses)


def _edges(uses: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    return [(name, used) for name, below in uses.items() for used in below]


def _layers(uses: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Every claim one layer beyond the last that it rests on; a circle is cut at its first claim by name."""
    waiting = {name: set(uses.get(name, ())) for name in sorted({*uses, *(used for _, used in _edges(uses))})}
    layers = []
    while waiting:
        layer = [name for name, below in waiting.items() if below.isdisjoint(waiting)] or [next(iter(waiting))]
        for name in layer:
            del waiting[name]
        layers.append(layer)
    return layers


def _passages(name: str, used: str, number: Mapping[_Key, int]) -> list[_Key]:
    """The places that a line takes in the layers between its ends."""
    return [(name, used, str(i)) for i in range(number[(used,)] + 1, number[(name,)])]


def _ordered(names: Sequence[Sequence[str]], uses: Mapping[str, Iterable[str]]) -> list[list[_Key]]:
    """The layers with the lines that pass them, each place near the mean of what it is joined to in its neighbours."""
    layers: list[list[_Key]] = [[(name,) for name in layer] for layer in names]
    number = {key: i for i, layer in enumerate(layers) for key in layer}
    joined: dict[_Key, list[_Key]] = {key: [] for key in number}
    for name, used in _edges(uses):
        passages = _passages(name, used, number)
        for key in passages:
            layers[int(key[2])].append(key)
            joined[key] = []
        for a, b in pairwise([(used,), *passages, (name,)]):
            joined[a].append(b)
            joined[b].append(a)
    for sweep in range(_SWEEPS):
        place = {key: (i + 0.5) / len(layer) for layer in layers for i, key in enumerate(layer)}
        at = {key: i for i, layer in enumerate(layers) for key in layer}
        forward = sweep % 2 == 0
        for i in range(len(layers)) if forward else reversed(range(len(layers))):
            means = {}
            for key in layers[i]:
                towards = [place[other] for other in joined[key] if (at[other] < i if forward else at[other] > i)]
                means[key] = sum(towards) / len(towards) if towards else place[key]
            layers[i].sort(key=lambda key, means=means: (means[key], key))  # type: ignore[misc]
            place |= {key: (j + 0.5) / len(layers[i]) for j, key in enumerate(layers[i])}
    return layers


def _tall(key: _Key) -> float:
    return _HEIGHT if len(key) == 1 else _PASSAGE


def _extent(layer: Sequence[_Key]) -> float:
    return sum(map(_tall, layer)) + _GAP * (len(layer) - 1)


def _path(stops: Sequence[tuple[float, float, float]]) -> str:
    """A line through places given as (left, right, height): level across a layer, curved between two."""
    path = f"M{stops[0][1]:.0f} {stops[0][2]:.1f}"
    for (_, right, y), (left, end, height) in pairwise(stops):
        middle = (right + left) / 2
        path += f"C{middle:.0f} {y:.1f} {middle:.0f} {height:.1f} {left:.0f} {height:.1f}"
        if (left, end, height) != stops[-1]:
            path += f"H{end:.0f}"
    return path
