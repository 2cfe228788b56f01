"""The class ``Gym``: the calls that our worker makes. Arguments that have no names in the stub take none here."""

import copy
import os
from typing import Optional

import numpy as np

from isaacgym import asset as importer
from isaacgym.asset import Asset
from isaacgym.binding import Misuse, checked
from isaacgym.enums import IndexDomain, SimType, UpAxis
from isaacgym.faults import say, strike
from isaacgym.sim import GPU, Actor, Env, Sim, Viewer
from isaacgym.structures import (
    DOF_PROPERTIES,
    AssetOptions,
    CameraProperties,
    ForceSensorProperties,
    PlaneParams,
    RigidBodyProperties,
    RigidShapeProperties,
    SimParams,
    Tensor,
    Transform,
    TriangleMeshParams,
    Vec3,
    Version,
    vector,
)


class Gym:
    """See isaacgym-stubs for what each call does; here stands what the double adds."""

    def __init__(self, *args, **kwargs):
        self._sim = None

    # -- simulation

    @checked
    def create_sim(
        self,
        compute_device: int = 0,
        graphics_device: int = 0,
        type: SimType = SimType.SIM_FLEX,
        params: SimParams = SimParams(),  # noqa: B008 (as the real one)
    ) -> Sim:
        """Return None where it fails, as the real one does; one simulation for a process."""
        if strike("create_sim") == "none":
            say("*** Failed to create sim")
            return None
        if self._sim is not None:
            raise Misuse("a second simulation in one process (IsaacGymEnvs issue 159)")
        up = {UpAxis.UP_AXIS_Y: "y", UpAxis.UP_AXIS_Z: "z"}[params.up_axis]
        along = abs(getattr(params.gravity, up))
        if abs(np.linalg.norm(vector(params.gravity)) - along) > 1e-6:
            raise Misuse(f"gravity {params.gravity} is not along the up axis, {up}")
        gpu, pipeline = params.physx.use_gpu, params.use_gpu_pipeline
        if gpu and os.environ.get(GPU) != "1":
            say("*** Failed to create sim")
            return None
        if pipeline and not gpu:
            say("Can't use GPU pipeline with CPU Physics. Changing pipeline to 'CPU'.")
            pipeline = False
        say("Not connected to PVD")
        if gpu:
            say("+++ Using GPU PhysX")
        say("Physics Engine: " + ("PhysX" if type is SimType.SIM_PHYSX else "Flex"))
        say("Physics Device: " + (f"cuda:{compute_device}" if gpu else "cpu"))
        say("GPU Pipeline: " + ("enabled" if pipeline else "disabled"))
        self._sim = Sim(copy.deepcopy(params), type, pipeline)
        self._sim.graphics = graphics_device
        return self._sim

    @checked
    def destroy_sim(self, arg0: Sim, /) -> None:
        self._sim = None

    @checked
    def get_version(self) -> Version:
        return Version()

    @checked
    def get_sim_params(self, arg0: Sim, /) -> object:
        return copy.deepcopy(arg0.params)

    @checked
    def prepare_sim(self, arg0: Sim, /) -> bool:
        arg0.prepare()
        return True

    @checked
    def simulate(self, arg0: Sim, /) -> None:
        arg0.simulate()

    @checked
    def fetch_results(self, arg0: Sim, arg1: bool, /) -> None:
        arg0.fetch()

    @checked
    def get_sim_actor_count(self, arg0: Sim, /) -> int:
        return len(arg0.actors)

    @checked
    def get_sim_dof_count(self, arg0: Sim, /) -> int:
        return arg0.num_dofs

    @checked
    def get_sim_force_sensor_count(self, arg0: Sim, /) -> int:
        return sum(len(actor.asset.sensors) for actor in arg0.actors)

    # -- ground

    @checked
    def add_ground(self, sim: Sim, params: PlaneParams) -> None:
        raise Misuse("the double's ground is triangle meshes of boxes")

    @checked
    def add_triangle_mesh(self, arg0: Sim, arg1: np.ndarray, arg2: np.ndarray, arg3: TriangleMeshParams, /) -> None:
        vertices = np.asarray(arg1, np.float32).ravel()
        triangles = np.asarray(arg2, np.uint32).ravel()
        if (len(vertices), len(triangles)) != (3 * arg3.nb_vertices, 3 * arg3.nb_triangles):
            raise Misuse(
                f"{len(vertices)} and {len(triangles)} numbers for {arg3.nb_vertices} vertices and "
                f"{arg3.nb_triangles} triangles: the real one reads what lies behind"
            )
        if arg0.prepared:
            raise Misuse("ground comes before prepare_sim")
        if arg3.static_friction != arg3.dynamic_friction:
            raise Misuse("MuJoCo has one coefficient of friction")
        turn = arg3.transform.r
        if (turn.x, turn.y, turn.z) != (0.0, 0.0, 0.0):
            raise Misuse("the double does not turn meshes")
        points, faces = vertices.reshape(-1, 3), triangles.reshape(-1, 3).astype(np.int64)
        if len(faces) and faces.max() >= len(points):
            raise Misuse("a triangle of vertices that are not there")
        arg0.terrain.add(points, faces, vector(arg3.transform.p), arg3.dynamic_friction)

    # -- assets

    @checked
    def load_asset(self, sim: Sim, rootpath: str, filename: str, options: AssetOptions = None) -> Asset:
        """Return None for a file that is not there, as the real one does (and prints)."""
        try:
            return importer.load(rootpath, filename, copy.deepcopy(options or AssetOptions()))
        except FileNotFoundError as error:
            say(f"[Error] [carb.gym.plugin] Failed to resolve asset file: {error}")
            return None

    @checked
    def get_asset_dof_count(self, arg0: Asset, /) -> int:
        return len(arg0.dofs)

    @checked
    def get_asset_dof_names(self, arg0: Asset, /) -> list:
        return [body.joint.get("name") for body in arg0.dofs]

    @checked
    def get_asset_dof_properties(self, arg0: Asset, /):
        return arg0.dof_properties()

    @checked
    def get_asset_rigid_body_count(self, arg0: Asset, /) -> int:
        return len(arg0.bodies)

    @checked
    def get_asset_rigid_body_names(self, arg0: Asset, /) -> list:
        return [body.name for body in arg0.bodies]

    @checked
    def find_asset_rigid_body_index(self, arg0: Asset, arg1: str, /) -> int:
        """Return -1 where there is none of that name."""
        names = [body.name for body in arg0.bodies]
        return names.index(arg1) if arg1 in names else -1

    @checked
    def get_asset_rigid_shape_count(self, arg0: Asset, /) -> int:
        return len(arg0.shape_properties)

    @checked
    def get_asset_rigid_body_shape_indices(self, arg0: Asset, /) -> list:
        return arg0.shape_ranges()

    @checked
    def get_asset_rigid_shape_properties(self, arg0: Asset, /) -> list:
        return copy.deepcopy(arg0.shape_properties)

    @checked
    def set_asset_rigid_shape_properties(self, arg0: Asset, arg1: list, /) -> bool:
        """Let the actors to come have these; those that there are keep theirs."""
        _check_list(arg1, RigidShapeProperties, len(arg0.shape_properties))
        arg0.shape_properties = copy.deepcopy(arg1)
        return True

    @checked
    def create_asset_force_sensor(
        self, asset: Asset, body_idx: int, local_pose: Transform, props: ForceSensorProperties = None
    ) -> int:
        if asset.used:
            raise Misuse("force sensors come before the first actor")
        if not 0 <= body_idx < len(asset.bodies):
            return -1
        if (local_pose.r.x, local_pose.r.y, local_pose.r.z) != (0.0, 0.0, 0.0):
            raise Misuse("the double does not turn force sensors")
        properties = copy.deepcopy(props or ForceSensorProperties())
        asset.sensors.append((body_idx, vector(local_pose.p), np.eye(3), properties))
        return len(asset.sensors) - 1

    # -- environments and actors

    @checked
    def create_env(self, arg0: Sim, arg1: Vec3, arg2: Vec3, arg3: int, /) -> Env:
        """Lay environments out in rows, across the up axis."""
        if arg0.prepared:
            raise Misuse("environments come before prepare_sim")
        row, column = divmod(len(arg0.envs), arg3)
        size = vector(arg2) - vector(arg1)
        across = [0, 1] if arg0.params.up_axis == UpAxis.UP_AXIS_Z else [0, 2]
        origin = np.zeros(3)
        origin[across] = np.array([column, row]) * size[across]
        arg0.envs.append(Env(arg0, len(arg0.envs), origin))
        return arg0.envs[-1]

    @checked
    def get_env_origin(self, arg0: Env, /) -> Vec3:
        return Vec3(*arg0.origin)

    @checked
    def begin_aggregate(self, arg0: Env, arg1: int, arg2: int, arg3: bool, /) -> bool:
        return True

    @checked
    def end_aggregate(self, arg0: Env, /) -> bool:
        return True

    @checked
    def create_actor(
        self,
        env: Env,
        asset: Asset,
        pose: Transform,
        name: str = None,
        group: int = -1,
        filter: int = -1,
        segmentationId: int = 0,
    ) -> int:
        sim = env.sim
        if env is not sim.envs[-1]:
            raise Misuse("an environment is finished before the next one is begun")
        if env.actors:
            raise Misuse("the double has one actor in an environment")
        if sim.groups.setdefault(group, env) is not env or (group == -1 and len(sim.actors)):
            raise Misuse(f"robots of two environments meet in collision group {group}, which the double does not know")
        asset.used = True
        actor = Actor(env, asset, len(sim.actors), copy.deepcopy(pose), group, filter, sim.num_dofs)
        sim.actors.append(actor)
        env.actors.append(actor)
        sim.num_dofs += len(asset.dofs)
        return 0

    @checked
    def get_actor_index(self, arg0: Env, arg1: int, arg2: IndexDomain, /) -> int:
        return arg0.actors[arg1].index if arg2 == IndexDomain.DOMAIN_SIM else arg1

    @checked
    def get_actor_dof_properties(self, arg0: Env, arg1: int, /):
        return arg0.actors[arg1].dof_properties.copy()

    @checked
    def set_actor_dof_properties(self, arg0: Env, arg1: int, arg2: np.ndarray, /) -> bool:
        actor = arg0.actors[arg1]
        if arg2.dtype != DOF_PROPERTIES or arg2.shape != actor.dof_properties.shape:
            raise TypeError("set_actor_dof_properties(): incompatible function arguments")
        actor.dof_properties = arg2.copy()
        if world := _world(actor):
            world.set_joints(actor.dof_properties)
        return True

    @checked
    def get_actor_rigid_body_properties(self, arg0: Env, arg1: int, /) -> list:
        actor = arg0.actors[arg1]
        return copy.deepcopy(actor.body_properties or [_body_properties(body) for body in actor.asset.bodies])

    @checked
    def set_actor_rigid_body_properties(
        self,
        env: Env,
        actorHandle: int,
        props: list,
        recomputeInertia: bool = False,
    ) -> bool:
        """Refuse a new centre of mass on the GPU pipeline once the simulation is prepared (documented limit)."""
        actor = env.actors[actorHandle]
        before = actor.body_properties or [_body_properties(body) for body in actor.asset.bodies]
        _check_list(props, RigidBodyProperties, len(before))
        moved = any((vector(old.com) != vector(new.com)).any() for old, new in zip(before, props))
        if moved and env.sim.prepared and env.sim.gpu_pipeline:
            say("[Error] [carb.gym.plugin] Changing the center-of-mass is not supported with the GPU pipeline")
            return False
        after = copy.deepcopy(props)
        for old, new in zip(before, after):
            if recomputeInertia and old.mass > 0:
                for row in (new.inertia.x, new.inertia.y, new.inertia.z):
                    row.x, row.y, row.z = vector(row) * new.mass / old.mass
        actor.body_properties = after
        if world := _world(actor):
            world.set_bodies(after)
        return True

    @checked
    def get_actor_rigid_shape_properties(self, arg0: Env, arg1: int, /) -> list:
        return copy.deepcopy(arg0.actors[arg1].shape_properties)

    @checked
    def set_actor_rigid_shape_properties(self, arg0: Env, arg1: int, arg2: list, /) -> bool:
        actor = arg0.actors[arg1]
        _check_list(arg2, RigidShapeProperties, len(actor.shape_properties))
        actor.shape_properties = copy.deepcopy(arg2)
        if world := _world(actor):
            world.set_shapes(actor.shape_properties, actor.filter)
        return True

    @checked
    def enable_actor_dof_force_sensors(self, arg0: Env, arg1: int, /) -> bool:
        if arg0.sim.prepared:
            raise Misuse("joint force sensors come before prepare_sim")
        arg0.actors[arg1].measures_dof_forces = True
        return True

    # -- tensors

    @checked
    def acquire_actor_root_state_tensor(self, arg0: Sim, /) -> Tensor:
        return arg0.tensor("root")

    @checked
    def acquire_dof_state_tensor(self, arg0: Sim, /) -> Tensor:
        return arg0.tensor("dof")

    @checked
    def acquire_dof_force_tensor(self, arg0: Sim, /) -> Tensor:
        return arg0.tensor("dof_force")

    @checked
    def acquire_force_sensor_tensor(self, arg0: Sim, /) -> Tensor:
        return arg0.tensor("sensor")

    @checked
    def refresh_actor_root_state_tensor(self, arg0: Sim, /) -> bool:
        return arg0.refresh("root")

    @checked
    def refresh_dof_state_tensor(self, arg0: Sim, /) -> bool:
        return arg0.refresh("dof")

    @checked
    def refresh_dof_force_tensor(self, arg0: Sim, /) -> bool:
        return arg0.refresh("dof_force")

    @checked
    def refresh_force_sensor_tensor(self, arg0: Sim, /) -> bool:
        return arg0.refresh("sensor")

    @checked
    def set_actor_root_state_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        return arg0.set("root", arg1)

    @checked
    def set_actor_root_state_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        return arg0.set("root", arg1, arg2, arg3)

    @checked
    def set_dof_state_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        return arg0.set("dof", arg1)

    @checked
    def set_dof_state_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        return arg0.set("dof", arg1, arg2, arg3)

    @checked
    def set_dof_position_target_tensor(self, arg0: Sim, arg1: Tensor, /) -> bool:
        return arg0.set("target", arg1)

    @checked
    def set_dof_position_target_tensor_indexed(self, arg0: Sim, arg1: Tensor, arg2: Tensor, arg3: int, /) -> bool:
        return arg0.set("target", arg1, arg2, arg3)

    # -- viewer

    @checked
    def create_viewer(self, arg0: Sim, arg1: CameraProperties, /) -> Viewer:
        """Return None where there is no graphics device or no display, as the real one does."""
        if arg0.graphics < 0 or "DISPLAY" not in os.environ:
            say("*** Failed to create viewer")
            return None
        return Viewer()

    @checked
    def destroy_viewer(self, arg0: Viewer, /) -> None:
        pass

    @checked
    def query_viewer_has_closed(self, arg0: Viewer, /) -> bool:
        return False

    @checked
    def viewer_camera_look_at(self, arg0: Viewer, arg1: Optional[Env], arg2: Vec3, arg3: Vec3, /) -> None:
        pass

    @checked
    def step_graphics(self, arg0: Sim, /) -> None:
        pass

    @checked
    def draw_viewer(self, viewer: Viewer, sim: Sim, render_collision: bool = True) -> None:
        pass

    @checked
    def sync_frame_time(self, arg0: Sim, /) -> None:
        pass

    @checked
    def poll_viewer_events(self, arg0: Viewer, /) -> None:
        pass


def _world(actor):
    """Return an actor's world, or None where there is none yet (or no physics)."""
    sim = actor.env.sim
    return sim.worlds[actor.index] if sim.prepared and sim.worlds is not None else None


def _body_properties(body):
    properties = RigidBodyProperties()
    properties.mass, properties.invMass = body.mass, 1 / body.mass if body.mass else 0.0
    properties.com = Vec3(*body.com)
    for name, row in zip("xyz", body.inertia):
        setattr(properties.inertia, name, Vec3(*row))
    return properties


def _check_list(given, kind, length):
    if len(given) != length or not all(isinstance(item, kind) for item in given):
        raise TypeError(f"incompatible function arguments: wanted a list of {length} {kind.__name__}")
