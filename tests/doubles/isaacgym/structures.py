"""Structures of gymapi: fields and types of isaacgym-stubs, defaults of NVIDIA's documentation (see ../README.md)."""

import numpy as np

from isaacgym.binding import Structure
from isaacgym.enums import ContactCollection, TensorDataType, UpAxis

__all__ = [
    "AssetOptions",
    "FlexParams",
    "ForceSensorProperties",
    "IndexRange",
    "Mat33",
    "PhysXParams",
    "PlaneParams",
    "Quat",
    "RigidBodyProperties",
    "RigidShapeProperties",
    "SimParams",
    "Tensor",
    "Transform",
    "TriangleMeshParams",
    "CameraProperties",
    "Vec3",
    "Version",
]


class Vec3(Structure):
    FIELDS = {"x": (float, 0.0), "y": (float, 0.0), "z": (float, 0.0)}

    def __init__(self, x=0.0, y=0.0, z=0.0):
        self.x, self.y, self.z = x, y, z


class Quat(Structure):
    FIELDS = {"x": (float, 0.0), "y": (float, 0.0), "z": (float, 0.0), "w": (float, 1.0)}

    def __init__(self, x=0.0, y=0.0, z=0.0, w=1.0):
        self.x, self.y, self.z, self.w = x, y, z, w


class Transform(Structure):
    FIELDS = {"p": (Vec3, Vec3), "r": (Quat, Quat)}

    def __init__(self, p=None, r=None):
        self.p, self.r = p or Vec3(), r or Quat()


class Mat33(Structure):
    FIELDS = {"x": (Vec3, Vec3), "y": (Vec3, Vec3), "z": (Vec3, Vec3)}


class IndexRange(Structure):
    FIELDS = {"count": (int, 0), "start": (int, 0)}


class Version(Structure):
    FIELDS = {"major": (int, 1), "minor": (int, 0)}


class Tensor(Structure):
    """A description of memory: it keeps nothing alive. ``alive`` is the double's own, see gymtorch.py."""

    FIELDS = {
        "data_address": (int, 0),
        "device": (int, -1),
        "dtype": (TensorDataType, TensorDataType.DTYPE_FLOAT32),
        "own_data": (bool, False),
        "shape": (tuple, ()),
        "alive": (object, None),
    }

    @property
    def ndim(self):
        return len(self.shape)


class FlexParams(Structure):
    FIELDS = {}


class PhysXParams(Structure):
    FIELDS = {
        "always_use_articulations": (bool, False),
        "bounce_threshold_velocity": (float, 0.2),
        "contact_collection": (ContactCollection, ContactCollection.CC_ALL_SUBSTEPS),
        "contact_offset": (float, 0.02),
        "default_buffer_size_multiplier": (float, 2.0),
        "friction_correlation_distance": (float, 0.025),
        "friction_offset_threshold": (float, 0.04),
        "max_depenetration_velocity": (float, 100.0),
        "max_gpu_contact_pairs": (int, 1024 * 1024),
        "num_position_iterations": (int, 4),
        "num_subscenes": (int, 0),
        "num_threads": (int, 4),
        "num_velocity_iterations": (int, 1),
        "rest_offset": (float, 0.01),
        "solver_type": (int, 1),
        "use_gpu": (bool, False),
    }


class SimParams(Structure):
    FIELDS = {
        "dt": (float, 1 / 60),
        "enable_actor_creation_warning": (bool, True),
        "flex": (FlexParams, FlexParams),
        "gravity": (Vec3, Vec3),
        "num_client_threads": (int, 0),
        "physx": (PhysXParams, PhysXParams),
        "stress_visualization": (bool, False),
        "stress_visualization_max": (float, 1e5),
        "stress_visualization_min": (float, 0.0),
        "substeps": (int, 2),
        "up_axis": (UpAxis, UpAxis.UP_AXIS_Y),
        "use_gpu_pipeline": (bool, False),
    }

    def __init__(self):
        super().__init__()
        self.gravity = Vec3(0.0, -9.8, 0.0)


class AssetOptions(Structure):
    FIELDS = {
        "angular_damping": (float, 0.5),
        "armature": (float, 0.0),
        "collapse_fixed_joints": (bool, False),
        "convex_decomposition_from_submeshes": (bool, False),
        "default_dof_drive_mode": (int, 0),
        "density": (float, 1000.0),
        "disable_gravity": (bool, False),
        "enable_gyroscopic_forces": (bool, True),
        "fix_base_link": (bool, False),
        "flip_visual_attachments": (bool, False),
        "linear_damping": (float, 0.0),
        "max_angular_velocity": (float, 64.0),
        "max_linear_velocity": (float, 1000.0),
        "mesh_normal_mode": (int, 0),
        "min_particle_mass": (float, 1e-7),
        "override_com": (bool, False),
        "override_inertia": (bool, False),
        "replace_cylinder_with_capsule": (bool, False),
        "slices_per_cylinder": (int, 20),
        "tendon_limit_stiffness": (float, 1.0),
        "thickness": (float, 0.02),
        "use_mesh_materials": (bool, False),
        "use_physx_armature": (bool, True),
        "vhacd_enabled": (bool, False),
        "vhacd_params": (object, object),
    }


class ForceSensorProperties(Structure):
    FIELDS = {
        "enable_constraint_solver_forces": (bool, True),
        "enable_forward_dynamics_forces": (bool, True),
        "use_world_frame": (bool, False),
    }


class RigidShapeProperties(Structure):
    FIELDS = {
        "compliance": (float, 0.0),
        "contact_offset": (float, 0.02),
        "filter": (int, 0),
        "friction": (float, 1.0),
        "rest_offset": (float, 0.0),
        "restitution": (float, 0.0),
        "rolling_friction": (float, 0.0),
        "thickness": (float, 0.01),
        "torsion_friction": (float, 0.0),
    }


class RigidBodyProperties(Structure):
    FIELDS = {
        "com": (Vec3, Vec3),
        "flags": (int, 0),
        "inertia": (Mat33, Mat33),
        "invInertia": (Mat33, Mat33),
        "invMass": (float, 0.0),
        "mass": (float, 0.0),
    }


class PlaneParams(Structure):
    FIELDS = {
        "distance": (float, 0.0),
        "dynamic_friction": (float, 1.0),
        "normal": (Vec3, Vec3),
        "restitution": (float, 0.0),
        "segmentation_id": (int, 0),
        "static_friction": (float, 1.0),
    }

    def __init__(self):
        super().__init__()
        self.normal = Vec3(0.0, 1.0, 0.0)


class TriangleMeshParams(Structure):
    FIELDS = {
        "dynamic_friction": (float, 1.0),
        "nb_triangles": (int, 0),
        "nb_vertices": (int, 0),
        "restitution": (float, 0.0),
        "segmentation_id": (int, 0),
        "static_friction": (float, 1.0),
        "transform": (Transform, Transform),
    }


class CameraProperties(Structure):
    FIELDS = {
        "enable_tensors": (bool, False),
        "far_plane": (float, 2e6),
        "height": (int, 900),
        "horizontal_fov": (float, 90.0),
        "near_plane": (float, 1e-3),
        "supersampling_horizontal": (int, 1),
        "supersampling_vertical": (int, 1),
        "use_collision_geometry": (bool, False),
        "width": (int, 1600),
    }


DOF_PROPERTIES = np.dtype(
    {
        "names": (
            ["hasLimits", "lower", "upper", "driveMode", "velocity", "effort"]
            + ["stiffness", "damping", "friction", "armature"]
        ),
        "formats": ["?", "<f4", "<f4", "<i4"] + ["<f4"] * 6,
        "offsets": list(range(0, 40, 4)),
        "itemsize": 40,
    }
)
"""As it is printed at run time; documentation lists the same names in another order (research: call table)."""


def vector(value):
    """Return a Vec3 as an array (3,)."""
    return np.array([value.x, value.y, value.z])


def matrix(value):
    """Return a Mat33 as an array (3, 3)."""
    return np.stack([vector(value.x), vector(value.y), vector(value.z)])
