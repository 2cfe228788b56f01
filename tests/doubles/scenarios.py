"""What the double does, told as JSON: run by the interpreter of Isaac Gym's worker, read by test_isaacgym_double.py.

``python scenarios.py NAME ...`` prints an object with each scenario's answer, or its error as "Kind: message".
"""

import contextlib
import enum
import inspect
import json
import os
import sys
import tempfile
from pathlib import Path

from isaacgym import faults, gymapi, gymtorch

import numpy as np  # isort: skip
import torch  # isort: skip

GYM = gymapi.acquire_gym()
SCENARIOS = {}
URDF = """<robot name="pole">
  <link name="base">
    <inertial>
      <origin xyz="0.1 0 0"/><mass value="2"/><inertia ixx=".1" ixy="0" ixz="0" iyy=".1" iyz="0" izz=".1"/>
    </inertial>
    <collision><geometry><box size="0.4 0.4 0.2"/></geometry></collision>
  </link>
  <joint name="weld" type="fixed"><parent link="base"/><child link="load"/><origin xyz="0.1 0 0.3"/></joint>
  <link name="load">
    <inertial><mass value="2"/><inertia ixx=".2" ixy="0" ixz="0" iyy=".2" iyz="0" izz=".2"/></inertial>
    <collision><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
  <joint name="right" type="revolute"><parent link="base"/><child link="right_arm"/><origin xyz="0 -0.4 0.5"/>
    <axis xyz="1 0 0"/><limit lower="-1" upper="1" effort="50" velocity="9"/></joint>
  <link name="right_arm">
    <inertial><mass value="1"/><inertia ixx=".1" ixy="0" ixz="0" iyy=".1" iyz="0" izz=".1"/></inertial>
    <collision><origin xyz="0 0.38 0"/><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
  <joint name="left" type="revolute"><parent link="base"/><child link="left_arm"/><origin xyz="0 0.4 0.5"/>
    <axis xyz="1 0 0"/><limit lower="-1" upper="1" effort="50" velocity="9"/></joint>
  <link name="left_arm">
    <inertial><mass value="1"/><inertia ixx=".1" ixy="0" ixz="0" iyy=".1" iyz="0" izz=".1"/></inertial>
    <collision><origin xyz="0 -0.38 0.05"/><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
</robot>"""
"""A slab with a load welded to it, 4 kg, whose centre of mass is (0.1, 0, 0.15), and two arms whose hands overlap."""
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
FACES = np.array(
    [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
    + [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
)
"""Triangles of a box, counter-clockwise from outside."""


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def params():
    wanted = gymapi.SimParams()
    wanted.dt, wanted.substeps = 0.005, 1
    wanted.up_axis, wanted.gravity = gymapi.UP_AXIS_Z, gymapi.Vec3(0.0, 0.0, -9.81)
    return wanted


class Scene:
    """``count`` robots at ``height`` over a floor of 20 m, made as a careful user does; arguments differ from that."""

    def __init__(self, count=2, height=0.1, gpu=False, faces=FACES, ground=1.0, robot=1.0, filter_=1, **options):
        wanted = params()
        wanted.use_gpu_pipeline = wanted.physx.use_gpu = gpu
        self.sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, wanted)
        mesh = gymapi.TriangleMeshParams()
        vertices = CORNERS * [10.0, 10.0, 0.5] - [0.0, 0.0, 0.5]
        mesh.nb_vertices, mesh.nb_triangles = len(vertices), len(faces)
        mesh.static_friction = mesh.dynamic_friction = ground
        GYM.add_triangle_mesh(self.sim, vertices.astype("f4").ravel(), faces.astype("u4").ravel(), mesh)
        self.asset = load(self.sim, **options)
        shapes = GYM.get_asset_rigid_shape_properties(self.asset)
        for shape in shapes:
            shape.friction = robot
        GYM.set_asset_rigid_shape_properties(self.asset, shapes)
        sensor = gymapi.ForceSensorProperties()
        sensor.enable_forward_dynamics_forces, sensor.use_world_frame = False, True
        GYM.create_asset_force_sensor(self.asset, 0, gymapi.Transform(), sensor)
        self.robots = []
        for index in range(count):
            env = GYM.create_env(self.sim, gymapi.Vec3(), gymapi.Vec3(), 2)
            pose = gymapi.Transform(gymapi.Vec3(0.0, 0.0, height))
            actor = GYM.create_actor(env, self.asset, pose, "robot", index, filter_)
            drives = GYM.get_actor_dof_properties(env, actor)
            drives["driveMode"], drives["stiffness"], drives["damping"] = gymapi.DOF_MODE_POS, 200.0, 5.0
            GYM.set_actor_dof_properties(env, actor, drives)
            GYM.enable_actor_dof_force_sensors(env, actor)
            self.robots.append((env, actor))
        GYM.prepare_sim(self.sim)
        self.root = gymtorch.wrap_tensor(GYM.acquire_actor_root_state_tensor(self.sim))
        self.joint = gymtorch.wrap_tensor(GYM.acquire_dof_state_tensor(self.sim))
        self.force = gymtorch.wrap_tensor(GYM.acquire_force_sensor_tensor(self.sim))
        self.torque = gymtorch.wrap_tensor(GYM.acquire_dof_force_tensor(self.sim))

    def run(self, steps=1):
        for _ in range(steps):
            GYM.simulate(self.sim)
        GYM.fetch_results(self.sim, True)
        self.refresh()
        return self

    def refresh(self):
        GYM.refresh_actor_root_state_tensor(self.sim)
        GYM.refresh_dof_state_tensor(self.sim)
        GYM.refresh_force_sensor_tensor(self.sim)
        GYM.refresh_dof_force_tensor(self.sim)

    def place(self, rows, indices, dtype=torch.int32):
        """Put robots to rows of a root tensor; returns what must be held until the next simulate."""
        numbers = torch.tensor(indices, dtype=dtype)
        held = torch.tensor(rows, dtype=torch.float32), numbers
        tensors = [gymtorch.unwrap_tensor(tensor) for tensor in held]
        GYM.set_actor_root_state_tensor_indexed(self.sim, tensors[0], tensors[1], len(indices))
        return held


def load(sim, urdf=URDF, **options):
    wanted = gymapi.AssetOptions()
    wanted.collapse_fixed_joints, wanted.angular_damping = True, 0.0
    for name, value in options.items():
        setattr(wanted, name, value)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pole.urdf").write_text(urdf)
        return GYM.load_asset(sim, folder, "pole.urdf", wanted)


@contextlib.contextmanager
def switched(**switches):
    """Set some of the double's switches for a while."""
    os.environ.update(switches)
    try:
        yield
    finally:
        for name in switches:
            del os.environ[name]


def row(x=0.0, z=5.0, quat=(0, 0, 0, 1), linear=(0, 0, 0), angular=(0, 0, 0)):
    return [x, 0.0, z, *quat, *linear, *angular]


@scenario
def interface():
    """Functions of Gym: [name, kind, annotation, default] of each argument. Structures: fields and their types."""
    functions = {}
    for name, function in inspect.getmembers(gymapi.Gym, inspect.isfunction):
        if not name.startswith("_"):
            arguments = list(inspect.signature(function).parameters.values())[1:]
            functions[name] = [
                [
                    argument.name,
                    argument.kind is argument.POSITIONAL_ONLY,
                    getattr(argument.annotation, "__args__", [argument.annotation])[0].__name__,
                    "required" if argument.default is argument.empty else _written(argument.default),
                ]
                for argument in arguments
            ]
    structures = {
        name: {field: kind.__name__ for field, (kind, _) in value.FIELDS.items()}
        for name, value in vars(gymapi).items()
        if inspect.isclass(value) and hasattr(value, "FIELDS")
    }
    constants = {name: type(value).__name__ for name, value in vars(gymapi).items() if name.isupper()}
    return {"functions": functions, "structures": structures, "constants": constants}


@scenario
def defaults():
    made, options, sensor = gymapi.SimParams(), gymapi.AssetOptions(), gymapi.ForceSensorProperties()
    return {
        "up": made.up_axis.name,
        "gravity": [made.gravity.x, made.gravity.y, made.gravity.z],
        "dt": made.dt,
        "substeps": made.substeps,
        "pipeline": made.use_gpu_pipeline,
        "collapse": options.collapse_fixed_joints,
        "capsule": options.replace_cylinder_with_capsule,
        "forward_dynamics": sensor.enable_forward_dynamics_forces,
        "world_frame": sensor.use_world_frame,
        "plane": gymapi.PlaneParams().normal.y,
    }


@scenario
def flex_by_default():
    sim = GYM.create_sim(0, -1, params=params())
    GYM.prepare_sim(sim)
    return GYM.acquire_actor_root_state_tensor(sim) is None


@scenario
def y_up_by_default():
    wanted = params()
    wanted.up_axis = gymapi.SimParams().up_axis
    GYM.create_sim(0, -1, gymapi.SIM_PHYSX, wanted)


@scenario
def second_sim():
    GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())


@scenario
def gpu_without_one():
    wanted = params()
    wanted.physx.use_gpu = True
    return GYM.create_sim(0, -1, gymapi.SIM_PHYSX, wanted) is None


@scenario
def gpu_pipeline_on_cpu_physics():
    wanted = params()
    wanted.use_gpu_pipeline = True
    return GYM.create_sim(0, -1, gymapi.SIM_PHYSX, wanted).gpu_pipeline


@scenario
def attribute_that_is_none():
    gymapi.SimParams().time_step = 0.01


@scenario
def attribute_of_another_type():
    gymapi.SimParams().gravity = (0.0, 0.0, -9.81)


@scenario
def argument_of_another_type():
    GYM.create_sim(0, -1, 0, params())


@scenario
def keyword_that_has_no_name():
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    GYM.create_env(sim, lower=gymapi.Vec3(), upper=gymapi.Vec3(), num_per_row=1)


@scenario
def asset():
    """Names and masses, with and without collapsed links; an asset that is not there."""
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    answer = {}
    for collapse in (True, False):
        made = load(sim, collapse_fixed_joints=collapse)
        limits = GYM.get_asset_dof_properties(made)
        answer[str(collapse)] = {
            "bodies": GYM.get_asset_rigid_body_names(made),
            "joints": GYM.get_asset_dof_names(made),
            "effort": limits["effort"].tolist(),
            "modes": limits["driveMode"].tolist(),
            "ranges": [[part.start, part.count] for part in GYM.get_asset_rigid_body_shape_indices(made)],
            "missing": GYM.find_asset_rigid_body_index(made, "nobody"),
        }
        env = GYM.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        actor = GYM.create_actor(env, made, gymapi.Transform(), "robot", int(collapse), 1)
        base = GYM.get_actor_rigid_body_properties(env, actor)[0]
        inertia = base.inertia
        answer[str(collapse)]["base"] = [base.mass, base.com.x, base.com.y, base.com.z]
        answer[str(collapse)]["inertia"] = [inertia.x.x, inertia.y.y, inertia.z.z, inertia.x.z]
    answer["none"] = GYM.load_asset(sim, "/nowhere", "robot.urdf") is None
    return answer


@scenario
def roll_pitch_yaw():
    """Centre of mass of the base where the load is turned, and has its own centre of mass 1 m ahead."""
    turned = URDF.replace('xyz="0.1 0 0.3"/>', 'xyz="0.1 0 0.3" rpy="0.3 0.4 0.5"/>')
    turned = turned.replace('<inertial><mass value="2"/>', '<inertial><origin xyz="1 0.5 0"/><mass value="2"/>', 1)
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    env = GYM.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    actor = GYM.create_actor(env, load(sim, turned), gymapi.Transform(), "robot", 0, 1)
    com = GYM.get_actor_rigid_body_properties(env, actor)[0].com
    return [com.x, com.y, com.z]


@scenario
def sensor_after_the_first_actor():
    scene = Scene()
    GYM.create_asset_force_sensor(scene.asset, 0, gymapi.Transform())


@scenario
def tensors_before_prepare_sim():
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    GYM.acquire_dof_state_tensor(sim)


@scenario
def one_group_for_two_robots():
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    made = load(sim)
    for _ in range(2):
        GYM.create_actor(GYM.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1), made, gymapi.Transform(), "robot", 0)


@scenario
def an_earlier_environment():
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    made = load(sim)
    first, _ = (GYM.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1) for _ in range(2))
    GYM.create_actor(first, made, gymapi.Transform(), "robot", 0)


@scenario
def stale_without_refresh():
    """Height of the first robot: before anything, after simulate, after fetch and refresh."""
    scene = Scene(height=3.0)
    heights = [scene.root[0, 2].item()]
    scene.refresh()
    heights.append(scene.root[0, 2].item())
    for _ in range(40):
        GYM.simulate(scene.sim)
    heights.append(scene.root[0, 2].item())
    GYM.fetch_results(scene.sim, True)
    heights.append(scene.root[0, 2].item())
    GYM.refresh_actor_root_state_tensor(scene.sim)
    heights.append(scene.root[0, 2].item())
    return heights


@scenario
def refresh_without_fetch():
    """Height after simulate and refresh alone."""
    scene = Scene(height=3.0)
    scene.refresh()
    GYM.simulate(scene.sim)
    scene.refresh()
    return scene.root[0, 2].item()


@scenario
def set_takes_effect_with_simulate():
    """Height of the first robot after a setter, after a refresh, and after simulate."""
    scene = Scene().run()
    held = scene.place([row(), row()], [0])
    heights = [scene.root[0, 2].item()]
    scene.refresh()
    heights.append(scene.root[0, 2].item())
    scene.run()
    heights.append(scene.root[0, 2].item())
    return heights, len(held)


@scenario
def second_call_of_a_setter():
    """Heights of both robots, each put to 5 m by a call of its own."""
    scene = Scene().run()
    held = scene.place([row(), row()], [0]), scene.place([row(), row()], [1])
    scene.run()
    return scene.root[:, 2].tolist(), len(held)


@scenario
def long_indices():
    """Heights of three robots; the last was to be put to 5 m, with its number as int64."""
    scene = Scene(count=3).run()
    held = scene.place([row()] * 3, [1, 2], torch.int64)
    scene.run()
    return scene.root[:, 2].tolist(), len(held)


@scenario
def dead_indices():
    """Heights of both robots; the indices are gone before simulate."""
    scene = Scene().run()
    held = torch.tensor([row(), row()])
    numbers = gymtorch.unwrap_tensor(torch.tensor([0], dtype=torch.int32))
    GYM.set_actor_root_state_tensor_indexed(scene.sim, gymtorch.unwrap_tensor(held), numbers, 1)
    scene.run()
    return scene.root[:, 2].tolist()


@scenario
def only_some_rows():
    """A setter is given all rows, and takes those of the indices."""
    scene = Scene(count=3).run()
    rows = [row(z=5.0), row(z=6.0), row(z=7.0)]
    held = scene.place(rows, [2, 0])
    scene.run()
    return scene.root[:, 2].tolist(), len(held)


@scenario
def too_few_rows():
    scene = Scene()
    held = scene.place([row()], [0])
    scene.run()
    return len(held)


@scenario
def not_contiguous():
    gymtorch.unwrap_tensor(torch.zeros(4, 2).T)


@scenario
def quaternion_order():
    """Upper side of a robot that falls for a moment, by its quaternion: (x, y, z, w), and (w, x, y, z) by mistake."""
    scene = Scene()
    held = scene.place([row(quat=(0, 0, 0, 1)), row(quat=(1, 0, 0, 0))], [0, 1])
    scene.run()
    x, y = scene.root[:, 3], scene.root[:, 4]
    return (1 - 2 * (x * x + y * y)).tolist(), len(held)


@scenario
def velocities():
    """A robot that spins about z (world) while it lies on its side: its centre of mass flies as it was told to."""
    side = (0.5**0.5, 0, 0, 0.5**0.5)
    scene = Scene()
    held = scene.place([row(quat=side, linear=(1, 0, 0), angular=(0, 0, 2)), row(z=9.0)], [0, 1])
    scene.run(1)
    before = scene.root[0].tolist()
    scene.run(20)
    return before, scene.root[0].tolist(), len(held)


@scenario
def velocities_of_the_link():
    """Velocity of a robot that was told to fly at 1 m/s and to spin, by what velocities are."""
    answer = []
    for switches in ({}, {"ISAACGYM_DOUBLE_VELOCITY": "link"}):
        with switched(**switches):
            scene = Scene()
        held = scene.place([row(linear=(1, 0, 0), angular=(0, 0, 2)), row(z=9.0)], [0, 1])
        scene.run(1)
        before = scene.root[0, 1].item()
        scene.run(1)
        answer.append((scene.root[0, 1].item() - before) / params().dt)
        GYM.destroy_sim(scene.sim)
    return answer, len(held)


@scenario
def angular_damping():
    """Spin after 1 s: without damping, and with the default."""
    answer = []
    for options in ({}, {"angular_damping": gymapi.AssetOptions().angular_damping}):
        scene = Scene(**options)
        held = scene.place([row(z=20.0, angular=(0, 0, 2)), row(z=40.0)], [0, 1])
        scene.run(200)
        answer.append(scene.root[0, 12].item())
        GYM.destroy_sim(scene.sim)
    return answer, len(held)


@scenario
def weight():
    """Force sensor under a robot at rest and the masses; then the same sensor with its defaults."""
    scene = Scene().run(400)
    masses = [body.mass for body in GYM.get_actor_rigid_body_properties(*scene.robots[0])]
    return scene.force[0].tolist(), masses, scene.torque.tolist()


@scenario
def sensor_by_default():
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    made = load(sim)
    GYM.create_asset_force_sensor(made, 0, gymapi.Transform())
    env = GYM.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
    GYM.create_actor(env, made, gymapi.Transform(gymapi.Vec3(0, 0, 5), gymapi.Quat(1, 0, 0, 0)), "robot", 0, 1)
    GYM.prepare_sim(sim)
    force = gymtorch.wrap_tensor(GYM.acquire_force_sensor_tensor(sim))
    GYM.simulate(sim)
    GYM.fetch_results(sim, True)
    GYM.refresh_force_sensor_tensor(sim)
    return force[0].tolist()


@scenario
def inside_out():
    """Height after 1 s on ground whose faces point inwards."""
    return Scene(faces=FACES[:, ::-1]).run(200).root[0, 2].item()


@scenario
def friction():
    """How far a robot slides from 1 m/s: coefficients 0 and 0.6, 0.3 and 0.3; 0.6 and 0.1, which becomes 0."""
    answer = []
    for ground, robot, later in ((0.0, 0.6, None), (0.3, 0.3, None), (0.6, 0.1, 0.0)):
        scene = Scene(ground=ground, robot=robot).run(200)
        if later is not None:
            env, actor = scene.robots[0]
            shapes = GYM.get_actor_rigid_shape_properties(env, actor)
            for shape in shapes:
                shape.friction = later
            GYM.set_actor_rigid_shape_properties(env, actor, shapes)
        rows = scene.root.clone()
        rows[:, 7] = 1.0
        held = scene.place(rows.tolist(), [0, 1])
        start = scene.root[0, 0].item()
        scene.run(200)
        answer.append(scene.root[0, 0].item() - start)
        GYM.destroy_sim(scene.sim)
    return answer, len(held)


@scenario
def self_collision():
    """Angle between the arms, whose hands push each other apart if they meet, by the filters of actor and shapes."""
    answer = []
    for filter_, bits in ((0, None), (1, None), (-1, (0, 0, 1, 2)), (-1, (0, 0, 1, 3))):
        sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
        made = load(sim)
        shapes = GYM.get_asset_rigid_shape_properties(made)
        for shape, bit in zip(shapes, bits or ()):
            shape.filter = bit
        GYM.set_asset_rigid_shape_properties(made, shapes)
        env = GYM.create_env(sim, gymapi.Vec3(), gymapi.Vec3(), 1)
        GYM.create_actor(env, made, gymapi.Transform(gymapi.Vec3(0, 0, 50)), "robot", 0, filter_)
        GYM.prepare_sim(sim)
        joint = gymtorch.wrap_tensor(GYM.acquire_dof_state_tensor(sim))
        for _ in range(20):
            GYM.simulate(sim)
        GYM.fetch_results(sim, True)
        GYM.refresh_dof_state_tensor(sim)
        answer.append(abs(joint[0, 0] - joint[1, 0]).item())
        GYM.destroy_sim(sim)
    return answer


@scenario
def drives():
    """Angles of the left arm with its drive set to 0.5 rad, with drives of mode NONE, and with no effort to spend."""
    answer = []
    for change in ({}, {"driveMode": gymapi.DOF_MODE_NONE}, {"effort": 0.0}):
        scene = Scene(height=50.0)
        for env, actor in scene.robots:
            properties = GYM.get_actor_dof_properties(env, actor)
            for name, value in change.items():
                properties[name] = value
            GYM.set_actor_dof_properties(env, actor, properties)
        targets = torch.tensor([0.5, 0.0, 0.0, 0.0])
        GYM.set_dof_position_target_tensor(scene.sim, gymtorch.unwrap_tensor(targets))
        scene.run(200)
        answer.append(scene.joint[[0, 2], 0].tolist())
        GYM.destroy_sim(scene.sim)
    return answer


@scenario
def centre_of_mass_on_the_gpu_pipeline():
    """Whether a new centre of mass is taken, by the pipeline; and a new mass."""
    answer = []
    with switched(ISAACGYM_DOUBLE_GPU="1"):
        for gpu in (False, True):
            scene = Scene(gpu=gpu)
            env, actor = scene.robots[0]
            bodies = GYM.get_actor_rigid_body_properties(env, actor)
            bodies[0].com = gymapi.Vec3(0.5, 0.0, 0.0)
            taken = GYM.set_actor_rigid_body_properties(env, actor, bodies)
            heavier = GYM.get_actor_rigid_body_properties(env, actor)
            heavier[0].mass = 8.0
            answer.append([taken, heavier[0].com.x, GYM.set_actor_rigid_body_properties(env, actor, heavier)])
            GYM.destroy_sim(scene.sim)
    return answer


@scenario
def fetch_on_the_gpu_pipeline():
    """Height after simulate and refresh alone, which is all that the GPU pipeline needs."""
    with switched(ISAACGYM_DOUBLE_GPU="1"):
        scene = Scene(height=3.0, gpu=True)
    GYM.simulate(scene.sim)
    scene.refresh()
    return scene.root[0, 2].item()


@scenario
def mass():
    """Force on the ground of a robot whose base gets 2 kg more after it was made, and inertia with recomputeInertia."""
    scene = Scene()
    env, actor = scene.robots[0]
    bodies = GYM.get_actor_rigid_body_properties(env, actor)
    bodies[0].mass += 2.0
    GYM.set_actor_rigid_body_properties(env, actor, bodies)
    kept = GYM.get_actor_rigid_body_properties(env, actor)[0].inertia.x.x
    scene.run(400)
    forces = scene.force[:, 2].tolist()
    bodies[0].mass *= 2.0
    GYM.set_actor_rigid_body_properties(env, actor, bodies, True)
    return forces, kept, GYM.get_actor_rigid_body_properties(env, actor)[0].inertia.x.x


@scenario
def without_physics():
    """States after a step: as they were made, and as they were set."""
    with switched(ISAACGYM_DOUBLE_PHYSICS="0"):
        scene = Scene(height=3.0)
        held = scene.place([row(), row()], [1])
        scene.run()
    return scene.root[:, 2].tolist(), len(held)


@scenario
def joint_forces_without_sensors():
    """Torques of a driven joint in a simulation where no joint force sensors were asked for."""
    enable, GYM.enable_actor_dof_force_sensors = GYM.enable_actor_dof_force_sensors, lambda *_: True
    try:
        scene = Scene()
    finally:
        GYM.enable_actor_dof_force_sensors = enable
    targets = torch.full((4,), 0.5)
    GYM.set_dof_position_target_tensor(scene.sim, gymtorch.unwrap_tensor(targets))
    return scene.run(3).torque.tolist()


@scenario
def fault():
    """A fault on demand: the second simulate makes every state NaN."""
    with switched(ISAACGYM_DOUBLE_FAULT="simulate:2:nan"):
        faults.reset()
        scene = Scene().run()
        before = bool(torch.isfinite(scene.root).all())
        scene.run()
    return before, bool(torch.isnan(scene.root).all())


@scenario
def order_of_joints():
    """By name, and the other way round on demand."""
    sim = GYM.create_sim(0, -1, gymapi.SIM_PHYSX, params())
    names = GYM.get_asset_dof_names(load(sim))
    with switched(ISAACGYM_DOUBLE_ORDER="reversed"):
        return names, GYM.get_asset_dof_names(load(sim))


def _written(value):
    """Return a default as the bindings write it."""
    return f"{type(value).__name__}.{value.name}" if isinstance(value, enum.Enum) else str(value)


def main(names):
    answers = {}
    for name in names:
        try:
            answers[name] = SCENARIOS[name]()
        except Exception as error:
            answers[name] = f"{type(error).__name__}: {error}"
        finally:
            GYM._sim = None
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:] or list(SCENARIOS))
