#!/usr/bin/env python3
"""Make the face model of 3-D heads from USC-ICT FaceKit (light version, MIT licence).

FaceKit's folder FaceXModel holds one OBJ file per shape: generic_neutral_mesh.obj (the mean face), identity000.obj and
so on, and one for each expression, all with the same vertices in the same order. The result is one .npz:

  vertices          float32 [V, 3]     the mean face
  triangles         int32 [T, 3]       polygons cut into fans
  material          int8 [T], material_names str [M]
  identity          float16 [I, V, 3]  offsets from the mean face, in FaceKit's order
  expression        float16 [E, V, 3], expression_names str [E]

Only the first 25000 vertices are kept: what follows (tear film, lashes) is not rendered.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NEUTRAL = "generic_neutral_mesh.obj"
KEPT = 25000


class KitError(RuntimeError):
    """The folder is not FaceKit's, or not whole; the message says which file and why."""


def read_vertices(path: Path) -> NDArray[np.float32]:
    """Vertices [V, 3] of an OBJ file."""
    with path.open(encoding="ascii", errors="replace") as lines:
        rows = [line.split()[1:4] for line in lines if line.startswith("v ")]
    try:
        return np.array(rows, np.float32).reshape(-1, 3)
    except ValueError as error:
        raise KitError(f"{path}: a vertex is not three numbers ({error})") from None


def read_triangles(path: Path, count: int) -> tuple[NDArray[np.int32], NDArray[np.int8], list[str]]:
    """Triangles [T, 3] among the first `count` vertices, the material of each [T], and the materials' names."""
    names: list[str] = []
    triangles: list[tuple[int, int, int]] = []
    material: list[int] = []
    current = -1
    with path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            word = line.split()
            if not word:
                continue
            if word[0] == "usemtl":
                name = word[1] if len(word) > 1 else ""
                if name not in names:
                    names.append(name)
                current = names.index(name)
            elif word[0] == "f":
                corner = [int(w.split("/")[0]) - 1 for w in word[1:]]
                for k in range(1, len(corner) - 1):
                    if max(corner[0], corner[k], corner[k + 1]) < count:
                        triangles.append((corner[0], corner[k], corner[k + 1]))
                        material.append(current)
    return np.array(triangles, np.int32).reshape(-1, 3), np.array(material, np.int8), names


def read_kit(folder: Path) -> dict[str, NDArray[np.generic]]:
    """All arrays of the result, by name."""
    neutral_path = folder / NEUTRAL
    if not neutral_path.is_file():
        raise KitError(f"{folder}: no {NEUTRAL}; expected FaceKit's folder FaceXModel")
    neutral = read_vertices(neutral_path)
    count = min(len(neutral), KEPT)
    triangles, material, names = read_triangles(neutral_path, count)
    identity: list[NDArray[np.float16]] = []
    expression: list[NDArray[np.float16]] = []
    expression_names: list[str] = []
    for path in sorted(folder.glob("*.obj")):
        if path.name == NEUTRAL:
            continue
        shape = read_vertices(path)
        if shape.shape != neutral.shape:
            raise KitError(f"{path}: {len(shape)} vertices, {NEUTRAL} has {len(neutral)}")
        offset = (shape - neutral)[:count].astype(np.float16)
        if path.stem.startswith("identity"):
            identity.append(offset)
        else:
            expression.append(offset)
            expression_names.append(path.stem)
    if not identity or not expression:
        raise KitError(f"{folder}: {len(identity)} identities and {len(expression)} expressions; expected some of both")
    return {
        "vertices": neutral[:count],
        "triangles": triangles,
        "material": material,
        "material_names": np.array(names),
        "identity": np.stack(identity),
        "expression": np.stack(expression),
        "expression_names": np.array(expression_names),
    }


def main(argv: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kit", type=Path, required=True, metavar="DIR", help="FaceKit's folder FaceXModel")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .npz to write")
    arguments = parser.parse_args(argv)
    try:
        arrays = read_kit(arguments.kit)
    except KitError as error:
        print(f"make_face_model: {error}", file=sys.stderr)
        return 1
    part = arguments.out.with_name(f".{arguments.out.name}.part.npz")
    np.savez_compressed(part, **arrays)
    os.replace(part, arguments.out)
    shapes = f"{len(arrays['identity'])} identities, {len(arrays['expression'])} expressions"
    print(f"{arguments.out}: {len(arrays['vertices'])} vertices, {len(arrays['triangles'])} triangles, {shapes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
