"""3-D heads. Most tests need the face model, whose path is in the environment variable SEEHEAR_FACE_MODEL."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from make_face_model import main as make_face_model
from seehear_training.faces import Pose
from seehear_training.headgl import HeadsUnavailable
from seehear_training.heads import FaceModel, Head
from seehear_training.looks import HEAD, HeadLook
from seehear_training.render import render
from seehear_training.scenes import Scene

SHUT = np.array([0.0, 0.5, 0.0, 0.0], np.float32)
OPEN = np.array([1.0, 0.55, 0.0, 0.0], np.float32)
POSE = Pose(128, 90, 40, torso_x=128, torso_y=90)
PLAIN = HeadLook(hair_style="short", turn=0.0)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    """The real model; a made-up one would not show whether lips meet."""
    path = os.environ.get("SEEHEAR_FACE_MODEL")
    if not path:
        pytest.skip("no face model: set SEEHEAR_FACE_MODEL to the .npz made by make_face_model.py")
    return FaceModel.load(path)


def picture(head: Head, pose: Pose = POSE, mouth: NDArray[np.float32] = SHUT) -> NDArray[np.uint8]:
    frame = np.full((256, 256, 3), 90, np.uint8)
    head.draw(frame, pose, mouth)
    return frame


def test_same_seed_same_bytes(model: FaceModel) -> None:
    first, again, other = (picture(Head(model, seed, 40.0), mouth=OPEN) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drawing_another_head_in_between_changes_nothing(model: FaceModel) -> None:
    head = Head(model, 5, 40.0)
    first = picture(head, mouth=OPEN)
    picture(Head(model, 8, 30.0), replace(POSE, half_width_px=30.0))
    picture(head, mouth=SHUT)
    assert np.array_equal(picture(head, mouth=OPEN), first)


@pytest.mark.parametrize("seed", range(4))
def test_opening_the_mouth_changes_the_mouth_only(model: FaceModel, seed: int) -> None:
    look = replace(HeadLook.random(np.random.default_rng(seed)), turn=0.0, tilt=0.0, beard="none", prop="none")
    head = Head(model, look, 40.0)
    changed = np.abs(picture(head, mouth=OPEN).astype(int) - picture(head)).max(2) > 12
    x, y = head.mouth_point(POSE, OPEN)
    rows, columns = np.mgrid[:256, :256]
    assert changed[np.hypot(columns - x, rows - y) < 5].mean() > 0.5
    # The chin drops and pulls the cheeks along; eyes, hair and clothes stay.
    far = (rows < y - 0.7 * 40) | (np.abs(columns - x) > 1.1 * 40) | (rows > y + 1.5 * 40)
    assert changed[far].mean() < 0.002


def test_shut_lips_hide_the_teeth_and_pressed_lips_too(model: FaceModel) -> None:
    head = Head(model, replace(PLAIN, lips=(40, 40, 200), lip_strength=1.0, teeth=1.0), 40.0)
    x, y = (round(v) for v in head.mouth_point(POSE, SHUT))

    def pale(mouth: NDArray[np.float32]) -> float:
        lips = picture(head, mouth=mouth)[y - 1 : y + 2, x - 5 : x + 6].astype(float)
        return float((lips.min(2) / lips.max(2)).max())

    pressed = np.array([-0.05, 0.5, 0.0, 0.0], np.float32)
    assert pale(SHUT) < 0.65
    assert pale(pressed) < 0.65
    assert pale(np.array([0.35, 0.9, 0.0, 0.0], np.float32)) > 0.65


@pytest.mark.parametrize("turn", [-1.2, -0.5, 0.0, 0.6, 1.2])
def test_box_contains_the_mouth(model: FaceModel, turn: float) -> None:
    for seed in range(3):
        look = replace(HeadLook.random(np.random.default_rng(seed)), turn=turn)
        head = Head(model, look, 40.0)
        x0, y0, w, h = head.box(POSE, OPEN)
        x, y = head.mouth_point(POSE, OPEN)
        assert x0 <= x <= x0 + w
        assert y0 + 0.5 * h < y < y0 + h
        assert 1.2 < w / 40 < 2.9
        assert x0 - 10 < POSE.x < x0 + w + 10


def test_profile_shows_nose_and_mouth_on_the_side_it_points_to(model: FaceModel) -> None:
    for turn in (-1.2, 1.2):
        head = Head(model, replace(PLAIN, turn=turn), 40.0)
        x, _ = head.mouth_point(POSE, SHUT)
        assert (x - POSE.x) * np.sign(turn) > 20
        assert (np.abs(picture(head, mouth=OPEN).astype(int) - picture(head)).max(2) > 12).sum() > 60


def test_head_moves_with_the_pose(model: FaceModel) -> None:
    head = Head(model, PLAIN, 40.0)
    x, y = head.mouth_point(POSE, SHUT)
    moved = head.mouth_point(replace(POSE, x=POSE.x + 7.25, y=POSE.y - 3), SHUT)
    assert moved == pytest.approx((x + 7.25, y - 3))
    assert head.mouth_point(replace(POSE, yaw=0.3), SHUT)[0] > x + 5
    assert head.mouth_point(replace(POSE, pitch=0.2), SHUT)[1] > y + 2
    assert head.mouth_point(replace(POSE, roll=0.2), SHUT)[0] < x - 2  # clockwise: the chin goes left


def test_partly_or_wholly_out_of_the_picture(model: FaceModel) -> None:
    head = Head(model, PLAIN, 40.0)
    picture(head, replace(POSE, x=-10.0, torso_x=-10.0))
    out = picture(head, replace(POSE, x=-900.0, torso_x=-900.0))
    assert (out == 90).all()


def test_scene_with_heads(model: FaceModel) -> None:
    scene = Scene.random(3, duration_s=1.0, people=2, kinds=(HEAD,))
    first, again = render(scene, face_model=model), render(scene, face_model=model)
    assert np.array_equal(first.frame(12), again.frame(12))
    people = first.truth()["people"]
    assert [p["kind"] for p in people] == [HEAD, HEAD]


def test_heads_do_not_change_the_rest_of_a_scene() -> None:
    plain, heads = Scene.random(11, duration_s=4.0), Scene.random(11, duration_s=4.0, heads=1.0)
    assert all(p.look.kind == HEAD for p in heads.people)
    assert replace(heads, people=plain.people) == plain


def test_heads_without_a_model_are_refused() -> None:
    with pytest.raises(HeadsUnavailable, match="give a face model"):
        render(Scene.random(3, duration_s=1.0, kinds=(HEAD,)))


def test_missing_and_unfit_files_are_named(tmp_path: Path) -> None:
    pytest.importorskip("moderngl", reason="moderngl is not installed")
    with pytest.raises(HeadsUnavailable, match=r"nowhere\.npz: no such file; make it with make_face_model\.py"):
        FaceModel.load(tmp_path / "nowhere.npz")
    text = tmp_path / "text.npz"
    text.write_text("not a zip")
    with pytest.raises(HeadsUnavailable, match=r"text\.npz: not a readable \.npz"):
        FaceModel.load(text)
    empty = tmp_path / "empty.npz"
    np.savez(empty, vertices=np.zeros((3, 3)))
    with pytest.raises(HeadsUnavailable, match="triangles"):
        FaceModel.load(empty)


OBJ = "usemtl M_Face\nv 0 0 {z}\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1/1 2/2 3/3 4/4\n"


def test_make_face_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "face.npz"
    assert make_face_model(["--kit", str(tmp_path), "--out", str(out)]) == 1
    assert "no generic_neutral_mesh.obj" in capsys.readouterr().err
    for name, z in {"generic_neutral_mesh": 0, "identity000": 2, "identity001": 3, "jawOpen": -1}.items():
        (tmp_path / f"{name}.obj").write_text(OBJ.format(z=z))
    assert make_face_model(["--kit", str(tmp_path), "--out", str(out)]) == 0
    with np.load(out) as file:
        assert file["triangles"].tolist() == [[0, 1, 2], [0, 2, 3]]
        assert file["identity"][:, 0, 2].tolist() == [2, 3]
        assert file["expression_names"].tolist() == ["jawOpen"]
        assert file["expression"][0, 0].tolist() == [0, 0, -1]
    with pytest.raises(HeadsUnavailable, match=r"face\.npz: no expression mouthFunnel"):
        FaceModel.load(out)
    (tmp_path / "jawOpen.obj").write_text("v 0 0 0\n")
    assert make_face_model(["--kit", str(tmp_path), "--out", str(out)]) == 1
    assert "jawOpen.obj: 1 vertices" in capsys.readouterr().err
