"""Make fonts/outlines.json: the 36 plain characters of some condensed open fonts as polygons.

The fonts come from npm (all SIL Open Font License 1.1, see fonts/README.md); their outlines are flattened to polygons,
so that rendering needs numpy and OpenCV alone. Run again only to add a font:

    npm install --prefix FOLDER @fontsource/pathway-gothic-one @fontsource/sofia-sans-extra-condensed \
        @fontsource/barlow-condensed @fontsource/big-shoulders-display @fontsource/antonio \
        @fontsource/saira-extra-condensed @fontsource/oswald @fontsource/gidole @fontsource/dosis \
        @fontsource/share-tech @fontsource/barlow @fontsource/overpass
    pip install fonttools brotli
    python -m scripts.render.fetch_fonts FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont

FONTS: Final = {
    "pathway-gothic-one": (400,),
    "sofia-sans-extra-condensed": (600, 700, 800),
    "barlow-condensed": (500, 600),
    "big-shoulders-display": (600, 700),
    "antonio": (500, 600),
    "saira-extra-condensed": (500, 600),
    "oswald": (400, 500),
    "gidole": (400,),
    "dosis": (600, 700),
    "share-tech": (400,),
    "barlow": (500,),
    "overpass": (600,),
}
CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STEPS: Final = 4
"""Straight pieces a curve becomes: invisible at the 96 pixels a glyph is drawn with."""

Point = tuple[float, float]


def flatten(commands: list[tuple[str, tuple[Any, ...]]]) -> list[list[Point]]:
    """Turn a recorded outline into closed polygons, in font units."""
    polygons: list[list[Point]] = []
    current: list[Point] = []
    for name, points in commands:
        if name == "moveTo":
            current = [points[0]]
        elif name == "lineTo":
            current.append(points[0])
        elif name == "curveTo":
            current.extend(cubic(current[-1], *points))
        elif name == "qCurveTo":
            current.extend(quadratics(current[-1], list(points)))
        else:
            polygons.append(current)
    return polygons


def cubic(a: Point, b: Point, c: Point, d: Point) -> list[Point]:
    """Points of one cubic curve, its start left out."""
    steps = [step / STEPS for step in range(1, STEPS + 1)]
    return [
        (
            (1 - t) ** 3 * a[0] + 3 * (1 - t) ** 2 * t * b[0] + 3 * (1 - t) * t * t * c[0] + t**3 * d[0],
            (1 - t) ** 3 * a[1] + 3 * (1 - t) ** 2 * t * b[1] + 3 * (1 - t) * t * t * c[1] + t**3 * d[1],
        )
        for t in steps
    ]


def quadratics(start: Point, points: list[Point]) -> list[Point]:
    """Points of a TrueType run: controls with the points between two of them implied."""
    result: list[Point] = []
    for index, control in enumerate(points[:-1]):
        following = points[index + 1]
        last = index == len(points) - 2
        end = following if last else ((control[0] + following[0]) / 2, (control[1] + following[1]) / 2)
        for step in range(1, STEPS + 1):
            t = step / STEPS
            result.append(
                (
                    (1 - t) ** 2 * start[0] + 2 * (1 - t) * t * control[0] + t * t * end[0],
                    (1 - t) ** 2 * start[1] + 2 * (1 - t) * t * control[1] + t * t * end[1],
                )
            )
        start = end
    return result


def outlines(path: Path) -> dict[str, list[list[list[int]]]]:
    """Polygons of every character, 1000 units to the cap height, y down, left edge and cap line at 0."""
    font = TTFont(path)
    glyphs, names = font.getGlyphSet(), font.getBestCmap()
    result: dict[str, list[list[list[int]]]] = {}
    for character in CHARACTERS:
        pen = DecomposingRecordingPen(glyphs)
        glyphs[names[ord(character)]].draw(pen)
        polygons = flatten(pen.value)
        xs = [x for polygon in polygons for x, _ in polygon]
        ys = [y for polygon in polygons for _, y in polygon]
        scale = 1000 / (max(ys) - min(ys))
        left, top = min(xs), max(ys)
        result[character] = [[[round((x - left) * scale), round((top - y) * scale)] for x, y in p] for p in polygons]
    return result


def main() -> None:
    """Read the fonts under the given npm folder and write the outlines beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where `npm install --prefix` put node_modules")
    folder = parser.parse_args().folder / "node_modules" / "@fontsource"
    fonts = {
        f"{name}-{weight}": outlines(folder / name / "files" / f"{name}-latin-{weight}-normal.woff2")
        for name, weights in FONTS.items()
        for weight in weights
    }
    target = Path(__file__).parent / "fonts" / "outlines.json"
    target.write_text(json.dumps(fonts, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{target}: {len(fonts)} fonts, {target.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
