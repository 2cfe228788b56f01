"""Isaac Gym's side of the process boundary: a program for the Python that Isaac Gym has bindings for, 3.6 to 3.8.

``python worker.py SOCKET MEMORY``, both file descriptors. It imports nothing of this package. The first packet on the
socket says what lies where in the memory (:func:`arrays`) and is answered when Isaac Gym is imported; then one packet
after another is answered, until the other side is gone. Packets are JSON; those of a step :data:`STEP`, :data:`DONE`.

What must be computed is computed by the other side. torch only copies memory here, whole tensors, and starts no kernel:
the last torch for Python 3.8 has none for newer GPUs, on which PhysX itself may well run.

Isaac Gym's libraries print to file descriptor 1. It is a pipe, which the other side keeps for error messages.
"""
# pyright: reportAttributeAccessIssue=false

import ctypes
import faulthandler
import json
import mmap
import os
import platform
import signal
import socket
import struct
import sys
import traceback
from typing import Any, Dict, List, Optional

import numpy as np

PROTOCOL = 1
"""Version of all that both sides must agree on."""
STEP = struct.Struct("<4s4i")
"""A step: :data:`STEP_TAG`, its number, and how many robots get a place, joint states and parameters before it."""
STEP_TAG = b"step"
"""What tells it from JSON: the number of one step in 256 would begin with the byte of a curly bracket."""
DONE = struct.Struct("<i")
"""The answer to it: its number."""
PACKET = 1 << 16
"""Bytes of the longest packet."""

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_LINE_BUFFERED = 1  # _IOLBF


def arrays(memory: Any, layout: Dict[str, Any]) -> Dict[str, np.ndarray]:
    """Return the arrays in the memory by name; ``layout`` has dtype, shape and offset in bytes of each."""
    return {
        name: np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)
        for name, (dtype, shape, offset) in layout.items()
    }


class Scene:
    """The simulation: the terrain, and one robot in each environment.

    Args:
        shared: The arrays of the shared memory by name (engine.py lists them). Robots and environments are the same
            here, and have the same numbers; joints are in Isaac Gym's order.
    """

    def __init__(self, shared: Dict[str, np.ndarray]) -> None:
        from isaacgym import gymapi, gymtorch  # before torch, or they refuse
        import torch  # isort: skip

        torch.set_num_threads(1)
        # Untyped: what the bindings take is known when they run, and tested against the double and NVIDIA's stub.
        self.api: Any = gymapi
        self.interop: Any = gymtorch
        self.torch: Any = torch
        self.gym: Any = self.api.acquire_gym()
        self.shared = shared
        self.viewer: Any = None

    def versions(self) -> Dict[str, Any]:
        """Return what is running here, by name."""
        version = self.gym.get_version()
        return {
            "protocol": PROTOCOL,
            "python": platform.python_version(),
            "isaacgym": f"{version.major}.{version.minor}",
            "torch": self.torch.__version__,
            "numpy": np.__version__,
        }

    def load(
        self,
        sim: Dict[str, Any],
        asset: Dict[str, Any],
        terrain: Dict[str, Any],
        sensors: List[str],
        filters: Dict[str, int],
    ) -> Dict[str, Any]:
        """Make the simulation, the terrain and the robot's asset; return how Isaac Gym names and limits the joints.

        Args:
            sim: ``dt`` (s), ``gravity`` (m/s^2, along z), ``gpu`` (PhysX and pipeline), ``device`` (number of the GPU),
                ``viewer`` (bool) and ``physx``, PhysX's parameters by name.
            asset: ``folder`` and ``file`` of the URDF, ``armature`` (kg m^2), ``top_speed`` (m/s and rad/s).
            terrain: ``friction`` of the mesh.
            sensors: Names of the bodies that get a force sensor.
            filters: Each body's bits: bodies that have one in common do not meet.
        """
        gym, api = self.gym, self.api
        self.gpu = sim["gpu"]
        self.decimation = sim["decimation"]
        self._create_sim(sim)
        self._add_terrain(terrain["friction"])

        options = api.AssetOptions()
        options.default_dof_drive_mode = int(api.DOF_MODE_POS)
        options.collapse_fixed_joints = True
        options.replace_cylinder_with_capsule = True
        options.flip_visual_attachments = False
        options.armature = asset["armature"]
        options.use_physx_armature = True  # of the joint, not added to the links' inertia
        options.linear_damping = options.angular_damping = 0.0
        options.max_linear_velocity = options.max_angular_velocity = asset["top_speed"]
        self.asset = self._required(gym.load_asset(self.sim, asset["folder"], asset["file"], options), "load_asset")
        self.bodies = gym.get_asset_rigid_body_names(self.asset)
        for body in sensors:
            self._add_force_sensor(body)
        self.shapes = gym.get_asset_rigid_shape_properties(self.asset)
        shapes_of = gym.get_asset_rigid_body_shape_indices(self.asset)
        for body, shapes in zip(self.bodies, shapes_of):
            for shape in self.shapes[shapes.start : shapes.start + shapes.count]:
                shape.filter = filters[body]
                shape.restitution = shape.rolling_friction = shape.torsion_friction = 0.0

        joints = gym.get_asset_dof_properties(self.asset)
        joints["driveMode"].fill(int(api.DOF_MODE_POS))
        joints["armature"].fill(asset["armature"])
        joints["friction"].fill(0.0)
        joints["velocity"].fill(asset["top_speed"])
        self.joints = joints
        return {
            "joints": gym.get_asset_dof_names(self.asset),
            "limited": joints["hasLimits"].tolist(),
            "lower": joints["lower"].tolist(),
            "upper": joints["upper"].tolist(),
        }

    def create(self, base: str) -> Dict[str, Any]:
        """Create the robots at their places in ``root``, with their physical parameters; ``base`` is the heaviest body.

        Returns:
            What the mass and the centre of mass (3) of the base are without the changes.
        """
        gym, api = self.gym, self.api
        self.base = self.bodies.index(base)
        count = len(self.shared["root"])
        nowhere = api.Vec3(0.0, 0.0, 0.0)
        self.robots = []
        self.friction = [0.0] * count
        self.nominal: Any = None
        for i in range(count):
            env = gym.create_env(self.sim, nowhere, nowhere, int(count**0.5))
            self._take_friction(i, self.shapes)
            gym.set_asset_rigid_shape_properties(self.asset, self.shapes)
            pose = api.Transform()
            pose.p = api.Vec3(*self.shared["root"][i, :3].tolist())
            # The collision group keeps robots apart; filter -1 leaves it to the shapes who meets whom.
            actor = gym.create_actor(env, self.asset, pose, "robot", i, -1, 0)
            self.robots.append((env, actor))
            self._set_drives(i)
            self._set_mass(i)
            gym.enable_actor_dof_force_sensors(env, actor)
            self.shared["actors"][i] = gym.get_actor_index(env, actor, api.DOMAIN_SIM)
        if gym.prepare_sim(self.sim) is False:
            raise RuntimeError("prepare_sim failed")
        self._bind()
        mass, com, _ = self.nominal
        return {"mass": mass, "com": com}

    def step(self, places: int, joints: int, changed: int) -> None:
        """Set what is to be set, advance the physics and copy the new state out.

        Args:
            places: How many robots are put to their rows of ``root``: those in ``place_actors``.
            joints: How many robots' joints are put to their rows of ``joint``: those in ``joint_actors``.
            changed: How many robots' parameters have changed: those in ``changed_rows``.
        """
        gym, sim = self.gym, self.sim
        for row in self.shared["changed_rows"][:changed].tolist():
            self._change(row)
        # Each setter at most once between two simulates, with all robots' rows and the numbers of those that count.
        self._put("target")
        self._check(gym.set_dof_position_target_tensor(sim, self.given["target"]), "set_dof_position_target_tensor")
        if places:
            self._put("root")
            self._put("place_actors")
            done = gym.set_actor_root_state_tensor_indexed(sim, self.given["root"], self.given["place_actors"], places)
            self._check(done, "set_actor_root_state_tensor_indexed")
        if joints:
            self._put("joint")
            self._put("joint_actors")
            done = gym.set_dof_state_tensor_indexed(sim, self.given["joint"], self.given["joint_actors"], joints)
            self._check(done, "set_dof_state_tensor_indexed")
        for _ in range(self.decimation):
            gym.simulate(sim)
            if not self.gpu:
                gym.fetch_results(sim, True)
        gym.refresh_actor_root_state_tensor(sim)
        gym.refresh_dof_state_tensor(sim)
        gym.refresh_force_sensor_tensor(sim)
        gym.refresh_dof_force_tensor(sim)
        for name, tensor in self.states.items():
            self.host[name].copy_(tensor)
        if self.viewer is not None:
            self._draw()

    def _create_sim(self, wanted: Dict[str, Any]) -> None:
        api = self.api
        params = api.SimParams()
        params.dt, params.substeps = wanted["dt"], 1
        params.up_axis = api.UP_AXIS_Z
        params.gravity = api.Vec3(0.0, 0.0, wanted["gravity"])
        params.use_gpu_pipeline = params.physx.use_gpu = self.gpu
        params.physx.solver_type = 1  # TGS
        params.physx.contact_collection = api.ContactCollection.CC_ALL_SUBSTEPS
        for name, value in wanted["physx"].items():
            setattr(params.physx, name, value)
        # A viewer on another GPU than the physics crashes; -1 = no graphics.
        graphics = wanted["device"] if wanted["viewer"] else -1
        sim = self.gym.create_sim(wanted["device"], graphics, api.SIM_PHYSX, params)
        self.sim = self._required(sim, "create_sim")
        if wanted["viewer"]:
            self.viewer = self._required(self.gym.create_viewer(sim, api.CameraProperties()), "create_viewer")
            self.gym.viewer_camera_look_at(self.viewer, None, api.Vec3(-3.0, -3.0, 2.0), api.Vec3(1.0, 0.0, 0.5))

    def _add_terrain(self, friction: float) -> None:
        vertices, triangles = self.shared["vertices"], self.shared["triangles"]
        if not len(triangles):
            return
        mesh = self.api.TriangleMeshParams()
        mesh.nb_vertices, mesh.nb_triangles = len(vertices), len(triangles)
        mesh.static_friction = mesh.dynamic_friction = friction
        mesh.restitution = 0.0
        self.gym.add_triangle_mesh(self.sim, vertices.flatten("C"), triangles.flatten("C"), mesh)

    def _add_force_sensor(self, body: str) -> None:
        props = self.api.ForceSensorProperties()
        props.enable_forward_dynamics_forces = False  # gravity and the like
        props.enable_constraint_solver_forces = True
        props.use_world_frame = True
        if body not in self.bodies:
            raise RuntimeError(f"the robot has no body '{body}', only: {', '.join(self.bodies)}")
        sensor = self.gym.create_asset_force_sensor(self.asset, self.bodies.index(body), self.api.Transform(), props)
        if sensor < 0:
            raise RuntimeError(f"create_asset_force_sensor failed for '{body}'")

    def _bind(self) -> None:
        """Wrap the simulation's tensors, and make those that the setters are given, all for good.

        The setters keep only the addresses: what they are given must live until after the next simulate. On the CPU
        it is the shared memory itself, which the other side does not write before it has the answer to its step.
        """
        gym, sim, torch = self.gym, self.sim, self.torch
        self.states = {
            "root_state": self._wrap(gym.acquire_actor_root_state_tensor(sim)),
            "joint_state": self._wrap(gym.acquire_dof_state_tensor(sim)),
            "force": self._wrap(gym.acquire_force_sensor_tensor(sim)),
            "torque": self._wrap(gym.acquire_dof_force_tensor(sim)),
        }
        names = ("target", "root", "joint", "place_actors", "joint_actors")
        self.host = {name: torch.from_numpy(self.shared[name]) for name in (*names, *self.states)}
        for name, tensor in self.states.items():
            if tensor.shape != self.host[name].shape:
                wanted = tuple(self.host[name].shape)
                raise RuntimeError(f"Isaac Gym's {name} has the shape {tuple(tensor.shape)}, not {wanted}")
        device = self.states["root_state"].device
        self.own = {name: self.host[name].to(device) for name in names}
        self.given = {name: self.interop.unwrap_tensor(tensor) for name, tensor in self.own.items()}

    def _wrap(self, tensor: Any) -> Any:
        return self.interop.wrap_tensor(self._required(tensor, "a tensor of the simulation"))

    def _put(self, name: str) -> None:
        """Copy one of the tensors for the setters from the shared memory, unless it is there."""
        self.own[name].copy_(self.host[name])

    def _change(self, i: int) -> None:
        """Give a robot the parameters of its row."""
        env, actor = self.robots[i]
        self._set_drives(i)
        if self.friction[i] != float(self.shared["friction"][i]):
            shapes = self.gym.get_actor_rigid_shape_properties(env, actor)
            self._take_friction(i, shapes)
            self._check(
                self.gym.set_actor_rigid_shape_properties(env, actor, shapes), "set_actor_rigid_shape_properties"
            )
        if not self.gpu:  # the GPU pipeline cannot move a centre of mass any more
            self._set_mass(i)

    def _take_friction(self, i: int, shapes: List[Any]) -> None:
        """Write a robot's friction into the properties of its shapes."""
        self.friction[i] = float(self.shared["friction"][i])
        for shape in shapes:
            shape.friction = self.friction[i]

    def _set_drives(self, i: int) -> None:
        for name in ("stiffness", "damping", "effort"):
            self.joints[name] = self.shared[name][i]
        self._check(self.gym.set_actor_dof_properties(*self.robots[i], self.joints), "set_actor_dof_properties")

    def _set_mass(self, i: int) -> None:
        """Add the changes of mass, centre of mass and inertia to what Isaac Gym made of the URDF."""
        env, actor = self.robots[i]
        props = self.gym.get_actor_rigid_body_properties(env, actor)
        base = props[self.base]
        if self.nominal is None:
            inertia = [[row.x, row.y, row.z] for row in (base.inertia.x, base.inertia.y, base.inertia.z)]
            self.nominal = base.mass, [base.com.x, base.com.y, base.com.z], inertia
        mass, com, inertia = self.nominal
        com = (com + self.shared["com"][i]).tolist()
        inertia = (inertia + self.shared["inertia"][i]).tolist()
        base.mass = mass + float(self.shared["mass"][i])
        base.com = self.api.Vec3(*com)
        matrix = self.api.Mat33()
        matrix.x, matrix.y, matrix.z = (self.api.Vec3(*row) for row in inertia)
        base.inertia = matrix
        self._check(
            self.gym.set_actor_rigid_body_properties(env, actor, props, False), "set_actor_rigid_body_properties"
        )

    def _draw(self) -> None:
        gym = self.gym
        if gym.query_viewer_has_closed(self.viewer):
            gym.destroy_viewer(self.viewer)
            self.viewer = None
            return
        if self.gpu:
            gym.fetch_results(self.sim, True)
        gym.step_graphics(self.sim)
        gym.draw_viewer(self.viewer, self.sim, True)
        gym.sync_frame_time(self.sim)

    @staticmethod
    def _required(value: Any, call: str) -> Any:
        """Return what a call made; Isaac Gym returns None where it failed, and says why on file descriptor 1."""
        if value is None:
            raise RuntimeError(f"{call} failed")
        return value

    @staticmethod
    def _check(done: Optional[bool], call: str) -> None:
        if done is False:
            raise RuntimeError(f"{call} failed")


def serve(connection: socket.socket, memory_fd: int) -> int:
    """Answer packets until the other side is gone, or one cannot be answered; return the exit code."""
    packet = connection.recv(PACKET)
    if not packet:
        return 0
    try:
        hello = json.loads(packet.decode())
        if hello["protocol"] != PROTOCOL:
            raise RuntimeError(f"protocol {hello['protocol']} is not protocol {PROTOCOL}")
        scene = Scene(arrays(mmap.mmap(memory_fd, hello["size"]), hello["layout"]))
        answer = json.dumps(scene.versions()).encode()
        while True:
            connection.send(answer)
            packet = connection.recv(PACKET)
            if not packet:
                return 0
            if not packet.startswith(STEP_TAG):
                request = json.loads(packet.decode())
                do = {"load": scene.load, "create": scene.create}[request.pop("do")]
                answer = json.dumps(do(**request)).encode()
            else:
                _, number, places, joints, changed = STEP.unpack(packet)
                scene.step(places, joints, changed)
                answer = DONE.pack(number)
    except BaseException as error:
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, ImportError):
            message += f" (Python {platform.python_version()})"
        connection.send(json.dumps({"error": message[: PACKET // 8]}).encode())
        return 1


def main(socket_fd: int, memory_fd: int) -> None:
    """Serve the other end of the socket, and end when it does."""
    sys.path.pop(0)  # this program's folder, whose modules are for another Python
    for number in (signal.SIGINT, signal.SIGTERM):  # those that every process of a terminal or a batch job gets:
        signal.signal(number, signal.SIG_IGN)  # the trainer may finish its iteration, and needs its physics for that
    libc = ctypes.CDLL(None)
    libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    # What the libraries say last, before they crash, must not stay in a buffer.
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _LINE_BUFFERED, 0)
    faulthandler.enable()
    code = serve(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=socket_fd), memory_fd)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing is left to be done, and unloading the libraries could only fail


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
