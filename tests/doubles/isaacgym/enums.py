"""Enumerations of gymapi: the names of isaacgym-stubs, the values of NVIDIA's documentation where it states any."""

from enum import IntEnum

__all__ = ["ContactCollection", "DofDriveMode", "IndexDomain", "SimType", "TensorDataType", "UpAxis"]


class ContactCollection(IntEnum):
    CC_NEVER = 0
    CC_LAST_SUBSTEP = 1
    CC_ALL_SUBSTEPS = 2


class DofDriveMode(IntEnum):
    DOF_MODE_NONE = 0
    DOF_MODE_POS = 1
    DOF_MODE_VEL = 2
    DOF_MODE_EFFORT = 3


class IndexDomain(IntEnum):
    DOMAIN_SIM = 0
    DOMAIN_ENV = 1
    DOMAIN_ACTOR = 2


class SimType(IntEnum):
    SIM_PHYSX = 0
    SIM_FLEX = 1


class TensorDataType(IntEnum):
    DTYPE_FLOAT32 = 0
    DTYPE_UINT32 = 1
    DTYPE_UINT64 = 2
    DTYPE_UINT8 = 3
    DTYPE_INT16 = 4


class UpAxis(IntEnum):
    UP_AXIS_Y = 0
    UP_AXIS_Z = 1


for _enumeration in (ContactCollection, DofDriveMode, IndexDomain, SimType, TensorDataType, UpAxis):
    globals().update(_enumeration.__members__)
    __all__ += list(_enumeration.__members__)
