"""The benchmarks: their command line, the peers that they measure, and the tables that they print."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import networks, ratios, recipe, registry, worker
from benchmarks.__main__ import parse
from benchmarks.case import Case
from benchmarks.depth import View, make_view
from benchmarks.mesh_bvh import MeshDepth, camera_rays
from benchmarks.mujoco_renderer import MujocoWarpDepth
from benchmarks.report import Report
from benchmarks.stopwatch import TURN, Moment, Stopwatch, median_seconds, seconds_in_turns
from benchmarks.training import TimedTraining
from benchmarks.worker import Record
from legged_gym_ext.config.files import load_config
from legged_gym_ext.errors import UserError
from legged_gym_ext.paths import ROOT
from legged_gym_ext.runs.settle import settle

CPU = torch.device("cpu")


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# Command line -------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    args = parse([])
    assert args.only == list(registry.DEFAULT)
    assert args.sizes == ([256, 1024] if torch.device(args.sim.device).type == "cpu" else [256, 1024, 4096, 8192])
    assert not args.quick
    assert args.out is None, "nothing is written unless a folder is named"


def test_choices() -> None:
    device, what = ["--device", "cpu", "--sim", "mujoco"], ["--num_envs", "8,2", "--only", "depth", "feet"]
    args = parse([*device, *what, "--quick", "--out", "some/folder"])
    assert (args.sizes, args.only, args.quick, args.out) == ([8, 2], ["depth", "feet"], True, "some/folder")
    assert (torch.device(args.sim.device), args.sim.engine) == (CPU, "mujoco")


def test_each_benchmark_has_its_sizes_once() -> None:
    """Networks are one robot's; the recipe has the task's own number where none is asked for."""
    device = ["--device", "cpu", "--sim", "mujoco"]
    names = ["--only", "networks", "recipe", "feet"]
    assert parse([*device, *names, "--num_envs", "8,2"]).plan == [
        *[(1, "networks"), (8, "recipe"), (8, "feet")],
        *[(2, "recipe"), (2, "feet")],
    ]
    own = settle(load_config("parkour_depth", ["sim.device=cpu"])).env.num_envs
    assert parse([*device, "--only", "recipe"]).plan == [(own, "recipe")]
    assert parse([*device, "--only", "recipe", "--quick"]).plan == [(32, "recipe"), (64, "recipe")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--only dept", "unknown benchmark 'dept' (did you mean 'depth'?); allowed: boundary, depth, environment, "),
        ("--num_envs 0", "--num_envs 0; allowed: whole numbers of 1 or more, separated by commas"),
        ("--num_envs 8,x", "--num_envs 8,x; allowed"),
        ("--num_envs ,", "--num_envs ,; allowed"),
        ("--device cuda:99", "this machine has no 'cuda:99'; it has: cpu"),
        ("--device tpu", "expected auto, cpu or cuda:N, got 'tpu'"),
        ("--sim bullet", "unknown sim.engine 'bullet'"),
        ("--time_limit 0", "--time_limit 0.0; allowed: more than 0"),
        ("--out setup.py", "--out setup.py: a file, not a folder"),
        ("--qick", "unrecognized arguments: --qick"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as error:
        parse(arguments.split())
    assert message in str(error.value)


def test_bad_input_ends_with_code_2() -> None:
    result = benchmarks("--only", "nothing")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("error: unknown benchmark 'nothing'")
    assert "Traceback" not in result.stderr


def test_record_script_wants_a_folder() -> None:
    script = str(ROOT / "benchmarks" / "gpu_record.sh")
    environment = {"PATH": "/usr/bin:/bin"}
    result = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: where to?")
    result = subprocess.run(
        [script, "x"], env={**environment, "MINUTES": "x"}, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: MINUTES=x; allowed: a whole number of 1 or more\n"


# Peers of the depth kernels -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def view() -> View:
    torch.manual_seed(1)
    return make_view(24, CPU)


def edges(depth: torch.Tensor, view: View) -> torch.Tensor:
    """Return where a pixel differs much from a neighbour: there the last bit decides what a ray hits."""
    image = depth.view(-1, 1, *view.camera.resolution)
    window = {"kernel_size": 3, "stride": 1, "padding": 1}
    highest = torch.nn.functional.max_pool2d(image, **window)
    lowest = -torch.nn.functional.max_pool2d(-image, **window)
    return ((highest - lowest) > 0.05).view_as(depth)


def check_same(depth: torch.Tensor, view: View, tolerance: float) -> None:
    ours = torch.empty_like(depth)
    view.render(ours)
    config = view.camera.config
    assert ((ours > config.near) & (ours < config.far)).float().mean() > 0.5, "most rays should hit something"
    assert edges(ours, view).float().mean() > 0.001, "there should be edges to see"
    inside = ~edges(ours, view)
    torch.testing.assert_close(depth[inside], ours[inside], atol=tolerance, rtol=0.0)
    assert ((depth - ours).abs() > tolerance).float().mean() < 2e-3


@pytest.mark.parametrize(("joined", "tolerance"), [(False, 1e-4), (True, 2e-3)], ids=["mesh per tile", "one terrain"])
def test_mesh_caster_sees_what_the_box_kernels_see(view: View, joined: bool, tolerance: float) -> None:
    """On one large terrain, coordinates of hundreds of metres cost it precision."""
    depth = torch.full((24, view.camera.num_pixels), torch.nan)
    MeshDepth(view.tiles, view.tile, view.camera, joined).render(view.position, view.rotation, depth)
    check_same(depth, view, tolerance)


def test_mujoco_warp_renders_what_the_box_kernels_draw(view: View) -> None:
    depth = MujocoWarpDepth(view.boxes, view.camera).render(view.position, view.rotation)
    config = view.camera.config
    check_same(torch.where(depth == 0, config.far, depth).clamp(min=config.near), view, 1e-4)


def test_rays_go_through_the_middles_of_the_pixels(view: View) -> None:
    rays = camera_rays(view.camera).view(*view.camera.resolution, 3)
    torch.testing.assert_close(rays, torch.stack([-rays.flip(1)[..., 0], rays[..., 1], rays[..., 2]], dim=-1))
    half = torch.tensor(view.camera.config.horizontal_fov_degrees / 2).deg2rad().tan()
    width = rays[0, 1, 0] - rays[0, 0, 0]
    torch.testing.assert_close(rays[0, -1, 0] + width / 2, half)


# Stopwatch ----------------------------------------------------------------------------------------------------------


class FakeClock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("benchmarks.stopwatch.time.perf_counter", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_stopwatch_adds_up_nested_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(monkeypatch)

    class Program:
        def inner(self) -> None:
            clock.sleep(2.0)

        def outer(self) -> str:
            clock.sleep(1.0)
            self.inner()
            return "done"

    program, watch = Program(), Stopwatch(CPU)
    watch.watch(program, "inner", "in")
    watch.watch(program, "outer", "out")
    assert [program.outer(), program.outer()] == ["done", "done"]
    assert watch.seconds == {"in": 4.0, "out": 6.0}
    watch.clear()
    assert watch.seconds["out"] == 0.0


def test_medians_are_of_turns_of_equal_length(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(monkeypatch)
    order = []
    # The first compiles, the second tells how many make a turn; then turns, each after a call that is not timed.
    slow = iter([50.0, 3.0, *[90.0, 4.0], *[90.0, 50.0], *[90.0, 2.0]])
    fast = iter([50.0, TURN / 2, *[90.0, 0.1, 0.3], *[90.0, 0.5, 0.7], *[90.0, 8.0, 9.0]])

    def call(name: str) -> None:
        order.append(name)
        clock.sleep(next(slow if name == "slow" else fast))

    seconds = median_seconds({name: partial(call, name) for name in ("slow", "fast")}, CPU, 3)
    assert seconds == pytest.approx({"slow": 4.0, "fast": 0.6})
    assert order[4:] == ["slow", "slow", "fast", "fast", "fast"] * 3


def test_turns_are_of_the_clock_and_the_length_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time on the wall is another program's."""
    wall, seconds, calls = FakeClock(monkeypatch), iter([0.5, 0.5, *[0.5, 1.0, 1.0, 1.0, 1.0], *[9.0, 3.0] * 4]), []

    def call() -> None:
        calls.append(wall.now)
        wall.sleep(2 * next(seconds))

    found = seconds_in_turns({"one": call}, CPU, 2, turn=4.0, clock=lambda: wall.now / 2)
    assert found == {"one": [1.0, (3.0 + 9.0 + 3.0 + 9.0) / 4]}
    assert len(calls) == 2 + 2 * (1 + 4)


@pytest.mark.gpu
def test_device_time_is_that_of_the_work_not_of_its_launch() -> None:
    device = torch.device("cuda")
    matrix = torch.randn(4096, 4096, device=device)
    torch.mm(matrix, matrix)
    torch.cuda.synchronize()
    start = Moment(device)
    for _ in range(50):
        torch.mm(matrix, matrix)
    end = Moment(device)
    queued = end._host - start._host
    assert end.seconds_since(start) > 2 * queued


# Tables -------------------------------------------------------------------------------------------------------------

FIGURES = {
    256: {"environment with camera": 300.0, "bare physics with camera": 400.0},
    4096: {
        **{"environment with camera": 500e3, "bare physics with camera": 1000e3, "training loop": 350e3},
        **{"depth images": 12e9, "mesh BVH, a mesh per tile": 0.9e9, "mesh BVH, one terrain": 1.5e9, "memory": 30e9},
    },
}
H100 = "NVIDIA H100 80GB HBM3"


def find(device: str, num_envs: int, what: str, against: str) -> ratios.Row:
    found = [
        row
        for row in ratios.rows(FIGURES, device)
        if (row.num_envs, row.comparison.what, row.comparison.against) == (num_envs, what, against)
    ]
    assert len(found) == 1
    return found[0]


def test_ratios_are_of_the_measured_figures() -> None:
    assert find(H100, 256, "environment with camera", "bare physics").ratio == 0.75
    assert find(H100, 4096, "training loop", "bare physics").ratio == 0.35
    assert find(H100, 4096, "training loop", "environment with camera").ratio == 0.7
    assert find(H100, 4096, "depth images", "Warp mesh BVH").ratio == 8.0, "against the faster of the two"
    assert not [row for row in ratios.rows(FIGURES, H100) if row.comparison.against == "mj_multiRay"], "not measured"


@pytest.mark.parametrize(
    ("what", "against", "verdict"),
    [
        ("environment with camera", "bare physics", "missed"),  # 50 %, not 60
        ("training loop", "bare physics", "met"),  # 350,000 steps/s
        ("depth images", "", "met"),  # 12 G rays/s
        ("depth images", "Warp mesh BVH", "missed"),  # 8 times, not 10
        ("memory of training", "", "missed"),  # 30 GB, not less than 20
    ],
)
def test_verdicts_are_for_the_target_device_and_size_only(what: str, against: str, verdict: str) -> None:
    assert find(H100, 4096, what, against).verdict == verdict
    assert find("NVIDIA GeForce RTX 4090", 4096, what, against).verdict == ""
    assert find(H100, 256, "environment with camera", "bare physics").verdict == ""
    table = ratios.ratio_table(FIGURES, H100)
    assert [line.split("|")[-2].strip() for line in table.splitlines() if "GB" in line.split("|")[3]] == ["missed"]


def test_a_cpu_has_targets_of_its_own_at_every_size() -> None:
    figures: dict[int, dict[str, float]] = {}
    for size, share in ((256, 0.84), (1024, 0.86)):
        figures[size] = {"environment without camera": share * 1e4, "bare physics without camera": 1e4}
        figures[size] |= {"depth images, 1 core(s)": 70e6, "mj_multiRay": 8e6, "memory": 30e9}
    rows = ratios.rows(figures, "x86_64 CPU, 2 cores")
    verdicts = {(row.num_envs, row.comparison.what, row.comparison.against): row.verdict for row in rows}
    for size, verdict in ((256, "missed"), (1024, "met")):
        assert verdicts[size, "environment without camera", "bare physics"] == verdict
        assert verdicts[size, "depth images", ""] == "met"
        assert verdicts[size, "depth images", "mj_multiRay"] == "missed"
        assert verdicts[size, "memory of training", ""] == "", "that target is a GPU's"


@pytest.mark.parametrize(("micros", "verdict"), [(29.0, "met"), (31.0, "missed")])
def test_a_light_student_shall_take_less_than_a_share_of_the_teachers_time(micros: float, verdict: str) -> None:
    figures = {1: {"spec teacher": 100e-6, "spec student": 300e-6, "light student": micros * 1e-6}}
    rows = {row.comparison.figures[0]: row for row in ratios.rows(figures, "x86_64 CPU, 2 cores")}
    assert rows["light student"].verdict == verdict
    assert rows["light student"].cells()[2:6] == [f"{micros:.0f} us", "spec teacher: 100", f"{micros:.1f}%", "< 30.0%"]
    assert (rows["spec student"].ratio, rows["spec student"].verdict) == (pytest.approx(3.0), "")


@pytest.mark.parametrize("task", recipe.TASKS)
@pytest.mark.parametrize(("rate", "verdict"), [(2600.0, "met"), (2400.0, "missed")])
def test_the_lean_recipe_shall_be_faster_than_the_old_one(task: str, rate: float, verdict: str) -> None:
    figures = {512: {f"{task}, lean": rate, f"{task}, old": 1000.0}}
    assert [row.verdict for row in ratios.rows(figures, "x86_64 CPU, 2 cores")] == [verdict]


# Networks and recipes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def policies() -> dict[str, networks.Network]:
    return networks.make_networks(Case("cpu", "mujoco", 1))


def test_networks_have_the_sizes_that_follow_from_their_layers(policies: dict[str, networks.Network]) -> None:
    mlp = {"spec": [512, 256, 128, 10], "lean": [256, 128, 64, 10]}
    spec_encoder = [(25, 32), (288, 64), (64 * 28 * 28, 128), (128, 32), (75, 128), (128, 32), (512, 32)]
    light_encoder = [(25, 16), (144, 32), (288, 32), (32 * 7 * 7, 64), (128, 32)]  # windows as rows of a matrix
    gru = {"spec student": (32, 512), "light student": (64 + 43, 128)}
    for name, inputs, sizes, encoder in (
        ("spec teacher", 4139, mlp["spec"], []),
        ("spec student", 75, mlp["spec"], spec_encoder),
        ("lean teacher", 4141, mlp["lean"], []),
        ("light student", 77, mlp["lean"], light_encoder),
    ):
        layers = [*zip([inputs, *sizes[:-1]], sizes, strict=True), *encoder]
        parameters = sum(a * b + b for a, b in layers)
        if name in gru:
            a, b = gru[name]
            parameters += 3 * (a * b + b * b + 2 * b)
        network = policies[name]
        assert (network.inputs, network.first_layer) == (inputs, inputs * sizes[0])
        assert network.parameters == parameters, name
    assert policies["light student"].parameters * 4 < 0.12 * policies["spec teacher"].parameters * 4


def test_a_control_step_has_all_of_a_teacher_and_a_fifth_of_a_students_image(
    policies: dict[str, networks.Network],
) -> None:
    for name, network in policies.items():
        parts = network.parts()
        shares = {part: share for part, (_, share) in parts.items()}
        assert shares == ({"image": 0.2, "rest": 1.0} if "student" in name else {"whole": 1.0})
        with torch.inference_mode():
            actions = parts["rest" if "student" in name else "whole"][0]()
        assert isinstance(actions, torch.Tensor) and actions.shape == (1, 10)


@pytest.mark.parametrize("task", recipe.TASKS)
def test_the_old_recipe_has_the_specifications_networks_and_the_lean_one_has_not(task: str) -> None:
    case = Case("cpu", "mujoco", 4)
    old, lean, spec = case.config(*recipe.OLD, task=task), case.config(task=task), load_config("parkour_depth_spec")
    assert old.teacher.hidden_dims == old.teacher.critic_hidden_dims == spec.teacher.hidden_dims == [512, 256, 128]
    assert old.student.encoder == spec.student.encoder
    assert (old.ppo.num_learning_epochs, old.ppo.num_mini_batches, old.distill.interval) == (5, 4, 8)
    assert lean.teacher.hidden_dims == lean.teacher.critic_hidden_dims == [256, 128, 64]
    assert lean.student.encoder.kind == "light"
    assert (lean.ppo.num_learning_epochs, lean.ppo.num_mini_batches) == (3, 6)


def test_an_iteration_has_its_share_of_a_distillation() -> None:
    training = TimedTraining.__new__(TimedTraining)
    training.config, training.interval = Case("cpu", "mujoco", 10).config("distill.steps_per_env=40"), 8
    assert training.whole({"iteration": 7.0, "report": 1.0, "distillation": 4.0}) == 3.0 + 1.0 + 4.0 / 8
    assert (training.teacher_steps, training.steps) == (240, 240 + 10 * 40 / 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["networks", "recipe"])
def test_networks_and_recipe_measure_what_is_compared(name: str) -> None:
    record = worker.measure(name, Case("cpu", "mujoco", 2, quick=True))
    assert record.status == worker.OK
    assert all(value > 0 for value in record.figures.values())
    compared = [row.comparison for row in ratios.rows({2: record.figures}, record.device_name)]
    names = {figure for comparison in compared for figure in (*comparison.figures, *comparison.peers)}
    assert names == set(record.figures) and len(compared) == {"networks": 3, "recipe": 2}[name]


def test_networks_are_measured_on_a_cpu() -> None:
    with pytest.raises(UserError, match="--device cpu"):
        networks.run(Case("cuda", "mujoco_warp", 1))


def test_growth_has_a_column_for_each_size() -> None:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ratios.growth_table(FIGURES).splitlines()]
    assert lines[0] == ["environments", "256", "4096"]
    assert ["with camera, steps/s", "300", "500,000"] in lines
    assert ["memory, GB", "", "30"] in lines
    assert ["depth images, M rays/s", "", "12,000"] in lines


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "env.num_envs: out of memory with 77 environments; choose",
        ),
        (RuntimeError("Failed to allocate 123 bytes on device 'cuda:0'"), "env.num_envs: out of memory with 77"),
        (UserError("sim.dt: no"), "sim.dt: no"),
        (ValueError("two\nlines"), "failed: ValueError: two lines"),
    ],
)
def test_what_goes_wrong_becomes_a_line(error: Exception, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, case: Case) -> dict[str, float]:
        raise error

    monkeypatch.setattr(registry, "run", run)
    answer = worker.attempt("training", Case("cpu", "mujoco", 77))
    assert answer["status"].startswith(status)
    assert "figures" not in answer


def test_a_size_that_does_not_fit_is_a_line_and_the_others_go_on(tmp_path: Path) -> None:
    records = [
        Record("environment", 256, worker.OK, FIGURES[256], device_name="some GPU"),
        Record("environment", 8192, "out of memory"),
    ]
    report = Report("cpu", "mujoco", ["--quick"], records)
    assert report.text().splitlines()[0] == "some GPU, engine mujoco"
    assert report.text().splitlines()[-1] == "environment, 8192 environments: out of memory"
    report.write(tmp_path)
    content = json.loads((tmp_path / "results.json").read_text())
    assert [record["status"] for record in content["records"]] == ["ok", "out of memory"]
    assert content["ratios"][0]["ratio"] == 0.75
    assert content["machine"]["torch"] == torch.__version__
    assert (tmp_path / "tables.md").read_text() == report.text() + "\n"


def test_no_time_and_broken_workers_are_lines_too() -> None:
    case = Case("cpu", "mujoco", 2, quick=True)
    assert worker.measure("depth", case, limit=0.0).status == "not measured: the time was up"
    assert worker.measure("depth", case, limit=0.05).status == "not done within 0 s"
    assert "no such engine" in worker.measure("environment", Case("cpu", "no such engine", 2)).status


@pytest.mark.slow
def test_quick_run_prints_and_writes_the_tables(tmp_path: Path) -> None:
    """And what the comparisons name is what the benchmarks measure."""
    arguments = ["--device", "cpu", "--quick", "--num_envs", "4"]
    result = benchmarks(*arguments, "--only", "environment", "depth", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "tables.md", "growth.png"}
    assert (tmp_path / "tables.md").read_text().strip() in result.stdout
    content = json.loads((tmp_path / "results.json").read_text())
    figures = {name: value for record in content["records"] for name, value in record["figures"].items()}
    assert [(r["benchmark"], r["num_envs"]) for r in content["records"]] == [("environment", 4), ("depth", 4)]
    measured = {(row["what"], row["against"]) for row in content["ratios"]}
    elsewhere = {"training loop", "memory", "light student", "spec student", "lean teacher"}
    elsewhere |= {f"{task}, lean" for task in recipe.TASKS}
    assert measured == {
        (comparison.what, comparison.against)
        for comparison in ratios.COMPARISONS
        if not elsewhere & set(comparison.figures)
    }
    for name, value in figures.items():
        assert value > 0, name


@pytest.mark.slow
def test_training_measures_what_the_tables_show() -> None:
    record = worker.measure("training", Case("cpu", "mujoco", 4, quick=True))
    assert record.status == worker.OK
    wanted = {"training loop", "memory", "iteration: PPO update", "DAgger update"}
    assert wanted <= set(record.figures)
    parts = sum(value for name, value in record.figures.items() if name.startswith("iteration: "))
    assert parts == pytest.approx(record.figures["iteration"])
    assert record.figures["training loop"] == pytest.approx((24 + 48 / 4) * 4 / parts)
    assert record.figures["student's rollout"] > 0 and record.figures["DAgger update"] > 0, "it distils"
