"""The double of Isaac Gym: its interface against NVIDIA's stub, its behaviour against what is documented.

What the double does is told by ``doubles/scenarios.py``, which runs in the worker's interpreter; the sources of what is
expected here stand in ``doubles/README.md``.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import gym_python
import numpy as np
import pytest

GRAVITY = 9.81
DT = 0.005
"""s, of a step of the scenarios."""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What each scenario answers."""
    done = subprocess.run(
        [gym_python.GYM_PYTHON, str(gym_python.DOUBLES / "scenarios.py")],
        env=gym_python.gym_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- the interface, against isaacgym-stubs


@pytest.fixture(scope="module")
def stub() -> ast.Module:
    """NVIDIA's own description of gymapi."""
    found = importlib.util.find_spec("isaacgym-stubs")
    assert found is not None and found.submodule_search_locations, "isaacgym-stubs is not installed (make test)"
    text = (Path(found.submodule_search_locations[0]) / "gymapi.pyi").read_text("utf-8")
    return ast.parse(re.sub(r"\blambda\b(?=[(:])", "lambda_", text))  # a field of that name, which no Python can read


def classes(stub: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}


def documented(function: ast.FunctionDef) -> list[tuple[str, bool, str, str]]:
    """Return (name, whether it must stay unnamed, type, default) of each argument after self.

    The stub leaves defaults out; they stand in the docstring's first line, which is the bindings' own.
    """
    signature = (ast.get_docstring(function) or "").splitlines()[0]
    arguments = []
    for argument in function.args.args[1:]:
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        arguments.append((argument.arg, bool(re.fullmatch(r"arg\d", argument.arg)), kind, default(signature, argument)))
    if function.args.vararg:  # what the stub's generator could not read; the docstring has it
        for name, kind, given in re.findall(r"(\w+): (\w+)(?: = ([^,)]+))?", signature)[1:]:
            arguments.append((name, bool(re.fullmatch(r"arg\d", name)), kind, given.strip() or "required"))
    return arguments


def default(signature: str, argument: ast.arg) -> str:
    """Return an argument's default by the docstring's signature; 'object' for one that is made anew."""
    found = re.search(rf"\b{argument.arg}: [^=,]+= (<[^>]+>|[^,)]+)", signature)
    if not found:
        return "required"
    return "object" if found[1].startswith("<") else found[1].replace(" ", "")


def same_type(ours: str, theirs: str) -> bool:
    """Return whether an annotation of the double means what the stub's does; Any tells nothing."""
    theirs = theirs.split("[")[0].lower().replace("numpy.", "")
    return theirs in ("", "any") or ours.lower() == theirs


def test_every_function_takes_what_the_stub_says(told: dict[str, Any], stub: ast.Module) -> None:
    """Names, order, types and defaults; arguments without a name there cannot be given by one here."""
    theirs = {f.name: f for f in classes(stub)["Gym"].body if isinstance(f, ast.FunctionDef)}
    assert told["interface"]["functions"], "the double has no functions"
    for name, arguments in told["interface"]["functions"].items():
        wanted = documented(theirs[name])
        assert len(arguments) == len(wanted), name
        for number, ((own, unnamed, kind, given), (other, no_name, other_kind, other_given)) in enumerate(
            zip(arguments, wanted, strict=True)
        ):
            assert unnamed == no_name and (own == other or unnamed), f"{name}: argument {number} is {other}, not {own}"
            assert same_type(kind, other_kind), f"{name}: {own} is {other_kind}, not {kind}"
            if other_given == "object":
                assert "(" in given, f"{name}: {own} has an object by default, not {given}"
            else:
                assert given == other_given, f"{name}: {own} is {other_given} by default, not {given}"


def test_every_structure_has_the_fields_of_the_stub(told: dict[str, Any], stub: ast.Module) -> None:
    own = {"Tensor": {"alive"}, "FlexParams": set()}
    for name, fields in told["interface"]["structures"].items():
        if name == "FlexParams":
            continue  # nothing of it is used
        body = classes(stub)[name].body
        theirs = {f.target.id: ast.unparse(f.annotation) for f in body if isinstance(f, ast.AnnAssign)}
        theirs.pop("dtype" if name != "Tensor" else "", None)
        assert set(fields) - own.get(name, set()) == set(theirs), name
        for field, kind in fields.items():
            assert (
                field in own.get(name, ())
                or kind == "object"
                or same_type(kind, theirs[field])
                or (
                    kind == "int" and theirs[field] in classes(stub)  # an enumeration that nobody uses
                )
                or theirs[field] == "Any"
            ), f"{name}.{field} is {theirs[field]}, not {kind}"


def test_every_constant_is_one_of_the_stub(told: dict[str, Any], stub: ast.Module) -> None:
    theirs = {n.target.id: ast.unparse(n.annotation) for n in stub.body if isinstance(n, ast.AnnAssign)}
    constants = {name: kind for name, kind in told["interface"]["constants"].items() if kind in classes(stub)}
    assert constants["UP_AXIS_Z"] == "UpAxis"
    assert constants == {name: theirs[name] for name in constants}


# --- what is wrong by default


def test_defaults(told: dict[str, Any]) -> None:
    defaults = told["defaults"]
    assert defaults["up"] == "UP_AXIS_Y" and defaults["plane"] == 1.0
    assert defaults["gravity"] == pytest.approx([0.0, -9.8, 0.0])
    assert defaults["dt"] == pytest.approx(1 / 60) and defaults["substeps"] == 2
    assert not defaults["collapse"] and not defaults["capsule"] and not defaults["pipeline"]
    assert defaults["forward_dynamics"] and not defaults["world_frame"]
    assert told["flex_by_default"]  # a simulation that has no tensors
    assert "up axis" in told["y_up_by_default"]


@pytest.mark.parametrize(
    ("scenario", "error", "words"),
    [
        ("second_sim", "Misuse", "second simulation"),
        ("attribute_that_is_none", "AttributeError", "time_step"),
        ("attribute_of_another_type", "TypeError", "gravity"),
        ("argument_of_another_type", "TypeError", "create_sim"),
        ("keyword_that_has_no_name", "TypeError", ""),
        ("sensor_after_the_first_actor", "Misuse", "force sensors"),
        ("tensors_before_prepare_sim", "Misuse", "prepare_sim"),
        ("one_group_for_two_robots", "Misuse", "group 0"),
        ("an_earlier_environment", "Misuse", "finished"),
        ("too_few_rows", "Misuse", "52 bytes"),
        ("not_contiguous", "Exception", "contiguous"),
    ],
)
def test_mistakes_are_refused(told: dict[str, Any], scenario: str, error: str, words: str) -> None:
    assert told[scenario].startswith(f"{error}: ") and words in told[scenario]


def test_without_a_gpu(told: dict[str, Any]) -> None:
    assert told["gpu_without_one"]  # there is no simulation
    assert told["gpu_pipeline_on_cpu_physics"] is False


# --- assets


def test_collapsed_links_go_to_their_parents(told: dict[str, Any]) -> None:
    """2 kg at (0.1, 0, 0) and 2 kg at (0.1, 0, 0.3) are 4 kg at (0.1, 0, 0.15); Steiner adds 4 * 0.15^2."""
    whole, parts = told["asset"]["True"], told["asset"]["False"]
    assert whole["bodies"] == ["base", "left_arm", "right_arm"]
    assert parts["bodies"] == ["base", "left_arm", "right_arm", "load"]
    assert whole["base"] == pytest.approx([4.0, 0.1, 0.0, 0.15])
    assert whole["inertia"] == pytest.approx([0.3 + 0.09, 0.3 + 0.09, 0.3, 0.0])
    assert parts["base"] == pytest.approx([2.0, 0.1, 0.0, 0.0])
    assert whole["ranges"] == [[0, 2], [2, 1], [3, 1]]
    assert whole["missing"] == -1 and told["asset"]["none"]


def test_links_are_turned_about_fixed_axes(told: dict[str, Any]) -> None:
    """Roll about x first, then pitch about y, then yaw about z: URDF's convention, one axis after another."""
    x, y, z = 1.0, 0.5, 0.0
    y, z = y * math.cos(0.3) - z * math.sin(0.3), y * math.sin(0.3) + z * math.cos(0.3)
    x, z = x * math.cos(0.4) + z * math.sin(0.4), z * math.cos(0.4) - x * math.sin(0.4)
    x, y = x * math.cos(0.5) - y * math.sin(0.5), x * math.sin(0.5) + y * math.cos(0.5)
    base, load = np.array([0.1, 0.0, 0.0]), np.array([0.1 + x, y, 0.3 + z])
    assert told["roll_pitch_yaw"] == pytest.approx(((base + load) / 2).tolist(), abs=1e-6)


def test_joints_come_in_an_order_of_their_own(told: dict[str, Any]) -> None:
    assert told["order_of_joints"] == [["left", "right"], ["right", "left"]]  # the URDF has the right one first
    assert told["asset"]["True"]["effort"] == [50.0, 50.0]


# --- tensors


def test_tensors_show_what_was_refreshed(told: dict[str, Any]) -> None:
    """40 steps of 5 ms are a fall of g t^2 / 2, and as the steps are, of g dt^2 n (n + 1) / 2."""
    made, shown, simulated, fetched, refreshed = told["stale_without_refresh"]
    assert made == 0.0 and shown == simulated == fetched == 3.0
    assert refreshed == pytest.approx(3.0 - GRAVITY * DT**2 * 40 * 41 / 2, abs=1e-3)


def test_the_cpu_pipeline_shows_what_was_fetched(told: dict[str, Any]) -> None:
    assert told["refresh_without_fetch"] == 3.0
    assert told["fetch_on_the_gpu_pipeline"] < 3.0


def test_setters(told: dict[str, Any]) -> None:
    (before, refreshed, after), _ = told["set_takes_effect_with_simulate"]
    assert before == refreshed < 0.2 and after == pytest.approx(5.0, abs=1e-3)
    (first, second), _ = told["second_call_of_a_setter"]
    assert first < 0.2 and second == pytest.approx(5.0, abs=1e-3)  # as if the first had never been made
    heights, _ = told["only_some_rows"]
    assert heights == pytest.approx([5.0, 0.1, 7.0], abs=1e-3)


def test_indices(told: dict[str, Any]) -> None:
    heights, _ = told["long_indices"]  # 1 and 2 as int64 are 1, 0, 2, 0 as int32, of which two are read
    assert heights == pytest.approx([5.0, 5.0, 0.1], abs=1e-3)
    assert told["dead_indices"] == pytest.approx([0.1, 0.1], abs=1e-3)


def test_quaternions_are_xyzw(told: dict[str, Any]) -> None:
    assert told["quaternion_order"][0] == pytest.approx([1.0, -1.0])  # the other one lies on its head


def test_velocities_are_those_of_the_centre_of_mass_in_the_world_frame(told: dict[str, Any]) -> None:
    """The centre of mass, (0.1, 0, 0.15) in the robot's frame, flies a parabola; the robot turns at 2 rad/s about z."""
    before, after, _ = (np.array(part) for part in told["velocities"])
    flight = 20 * DT
    arms = 2.0 * (0.5 - 0.15) / 6.0  # they are 2 of 6 kg, and higher: the whole's centre of mass is not the base's

    def centre(row: np.ndarray) -> np.ndarray:
        x, y, z, w = row[3:7]
        return row[:3] + rotation(x, y, z, w) @ [0.1, 0.0, 0.15]

    moved = centre(after) - centre(before)
    assert before[7] == pytest.approx(1.0, abs=0.01) and before[10:13] == pytest.approx([0.0, 0.0, 2.0], abs=0.01)
    assert moved[0] == pytest.approx(flight, abs=2 * arms * flight**2)
    assert moved[2] == pytest.approx(-GRAVITY * DT**2 * (20 * 23) / 2, abs=1e-3)
    x, y, z, w = after[3:7]
    turned = rotation(x, y, z, w) @ [1.0, 0.0, 0.0]
    assert math.atan2(turned[1], turned[0]) == pytest.approx(2.0 * 21 * DT, abs=0.01)


def test_velocities_can_be_those_of_the_link(told: dict[str, Any]) -> None:
    """The link's origin is 0.1 m behind the centre of mass and moves sideways by that at 2 rad/s."""
    of_centre, of_link = told["velocities_of_the_link"][0]
    assert of_centre == pytest.approx(-0.2, abs=0.01) and of_link == pytest.approx(0.0, abs=0.01)


def rotation(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Return the matrix of a unit quaternion."""
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


# --- physics


def test_links_are_damped_by_default(told: dict[str, Any]) -> None:
    free, damped = told["angular_damping"][0]
    assert free == pytest.approx(2.0, rel=0.01) and damped == pytest.approx(free * math.exp(-0.5), rel=0.02)


def test_force_sensors(told: dict[str, Any]) -> None:
    """At rest the ground bears the weight; by default a sensor tells gravity, too, and turns with its body."""
    force, masses, _ = told["weight"]
    assert force[2] == pytest.approx(sum(masses) * GRAVITY, rel=1e-3)
    assert force[:2] == pytest.approx([0.0, 0.0], abs=1e-3)
    assert told["sensor_by_default"][:3] == pytest.approx([0.0, 0.0, 4.0 * GRAVITY], rel=1e-3)  # on its head


def test_masses_can_change(told: dict[str, Any]) -> None:
    (heavier, other), kept, scaled = told["mass"]
    assert heavier - other == pytest.approx(2.0 * GRAVITY, rel=1e-3)
    assert kept == pytest.approx(0.39) and scaled == pytest.approx(2 * 0.39)


def test_joint_forces_are_measured_where_it_was_asked_for(told: dict[str, Any]) -> None:
    assert told["joint_forces_without_sensors"] == [0.0] * 4


def test_drives(told: dict[str, Any]) -> None:
    driven, free, weak = told["drives"]
    assert driven == pytest.approx([0.5, 0.0], abs=0.02)
    assert free == pytest.approx([0.0, 0.0], abs=1e-3) and weak == pytest.approx([0.0, 0.0], abs=1e-3)


def test_the_ground_holds_from_its_outside(told: dict[str, Any]) -> None:
    assert told["inside_out"] == pytest.approx(0.1 - GRAVITY * DT**2 * 200 * 201 / 2, abs=1e-2)


def test_friction_is_the_average(told: dict[str, Any]) -> None:
    """Three ways to 0.3, the last of them at run time: v^2 / (2 mu g) is 0.17 m."""
    one_sided, both, changed = told["friction"][0]
    assert one_sided == pytest.approx(both, rel=1e-3) and changed == pytest.approx(both, rel=1e-2)
    assert both == pytest.approx(1.0 / (2 * 0.3 * GRAVITY), rel=0.2)


def test_filters(told: dict[str, Any]) -> None:
    """Filter 0 means that the robot meets itself; shapes that share a bit do not meet."""
    meet, apart, shapes_meet, shapes_share = told["self_collision"]
    assert meet > 0.01 and shapes_meet == pytest.approx(meet)
    assert apart == pytest.approx(0.0, abs=1e-6) and shapes_share == pytest.approx(0.0, abs=1e-6)


def test_the_gpu_pipeline_keeps_the_centre_of_mass(told: dict[str, Any]) -> None:
    assert told["centre_of_mass_on_the_gpu_pipeline"] == [[True, 0.5, True], [False, pytest.approx(0.1), True]]


# --- switches


def test_physics_can_be_switched_off(told: dict[str, Any]) -> None:
    assert told["without_physics"][0] == [3.0, 5.0]


def test_faults_come_when_they_are_due(told: dict[str, Any]) -> None:
    assert told["fault"] == [True, True]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("import:1:libpython", 1, "libpython3.8.so.1.0"),
        ("import:1:glibcxx", 1, "GLIBCXX"),
        ("import:1:numpy", 1, "has no attribute 'float'"),
        ("create_sim:1:segfault", -11, ""),
        ("create_sim:1:memory", -6, "PxgCudaDeviceMemoryAllocator"),
        ("create_sim:1:exit", 0, ""),
    ],
)
def test_a_fault_ends_the_process_as_it_does_for_users(fault: str, code: int, words: str) -> None:
    program = (
        "from isaacgym import gymapi; params = gymapi.SimParams(); params.up_axis = gymapi.UP_AXIS_Z;"
        "params.gravity = gymapi.Vec3(0.0, 0.0, -9.81);"
        "print(gymapi.acquire_gym().create_sim(0, -1, gymapi.SIM_PHYSX, params))"
    )
    environment = gym_python.gym_environment(ISAACGYM_DOUBLE_FAULT=fault)
    done = subprocess.run(
        [gym_python.GYM_PYTHON, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code and words in done.stdout + done.stderr


def test_torch_may_not_come_first() -> None:
    done = subprocess.run(
        [gym_python.GYM_PYTHON, "-c", "import torch, isaacgym"],
        env=gym_python.gym_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "PyTorch was imported before isaacgym modules" in done.stderr
