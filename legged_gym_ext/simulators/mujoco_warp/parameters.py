# type: ignore  (see kernels.py)
# ruff: noqa: UP018
"""The MuJoCo Warp engine's kernel that lets each world's model follow from its domain parameters."""

import warp as wp

wp.set_module_options({"enable_backward": False, "default_grid_stride": False, "max_unroll": 1})


@wp.struct
class Nominal:
    """The robot without domain randomization, and how its inverse inertias follow from the base's (see _invweights)."""

    robot_geoms: wp.array[int]
    base_bodies: wp.array[int]
    base_com: wp.array[wp.vec3]
    root_to_base: wp.array[wp.mat33]
    body_parent: wp.array[int]
    body_mass: wp.array[float]
    body_ipos: wp.array[wp.vec3]
    body_subtreemass: wp.array[float]
    stiffness: wp.array[float]
    damping: wp.array[float]
    forcerange: wp.array2d[float]
    base_inertia: wp.array2d[float]
    row_constant: wp.array[float]
    row_factor: wp.array3d[float]


@wp.struct
class Parameters:
    """The domain parameters of each world (see base.py), and the model's arrays that follow from them."""

    friction: wp.array[float]
    added_mass: wp.array[float]
    mass_offset: wp.array2d[float]
    motor_strength: wp.array2d[float]
    stiffness: wp.array2d[float]
    damping: wp.array2d[float]
    geom_friction: wp.array3d[float]
    body_mass: wp.array2d[float]
    body_ipos: wp.array3d[float]
    body_subtreemass: wp.array2d[float]
    body_invweight0: wp.array3d[float]
    dof_invweight0: wp.array2d[float]
    actuator_gainprm: wp.array3d[float]
    actuator_biasprm: wp.array3d[float]
    actuator_forcerange: wp.array3d[float]


@wp.func
def _point_inertia(mass: float, com: wp.vec3) -> wp.spatial_matrix:
    """Return the inertia (linear, then angular) about the origin of a point ``mass`` at ``com``."""
    cross = wp.skew(com)
    turning = wp.transpose(cross) @ cross
    result = wp.spatial_matrix()
    for i in range(3):
        result[i, i] = mass
        for j in range(3):
            result[i, 3 + j] = -mass * cross[i, j]
            result[3 + i, j] = mass * cross[i, j]
            result[3 + i, 3 + j] = mass * turning[i, j]
    return result


@wp.func
def _inverse(matrix: wp.spatial_matrix) -> wp.spatial_matrix:
    """Return the inverse of a positive definite matrix, which needs no pivoting."""
    a = matrix
    for k in range(6):
        pivot = 1.0 / a[k, k]
        a[k, k] = 1.0
        for j in range(6):
            a[k, j] = a[k, j] * pivot
        for i in range(6):
            if i != k:
                factor = a[i, k]
                a[i, k] = 0.0
                for j in range(6):
                    a[i, j] = a[i, j] - factor * a[k, j]
    return a


@wp.func
def _invweights(w: int, nominal: Nominal, parameters: Parameters):
    """Write the inverse inertias that MuJoCo derives in its reference pose, for a base of another mass and centre.

    MuJoCo takes means over rows j of ``j M^-1 j'``. Of the mass matrix M only the base's own 6 x 6 block changes. With
    its Schur complement S (``base_inertia``, plus the change), ``j M^-1 j' = k + h S^-1 h'``, where k and h are
    constants of the row: ``row_constant`` and ``row_factor`` hold the means of k and h'h. Rows are the translation
    and rotation of each body, then the degrees of freedom.
    """
    inertia = wp.spatial_matrix()
    for i in range(6):
        for j in range(6):
            inertia[i, j] = nominal.base_inertia[i, j]
    offset = wp.vec3(parameters.mass_offset[w, 0], parameters.mass_offset[w, 1], parameters.mass_offset[w, 2])
    for b in range(nominal.base_bodies.shape[0]):
        body, com = nominal.base_bodies[b], nominal.base_com[b]
        old = _point_inertia(nominal.body_mass[body], com)
        inertia += _point_inertia(parameters.body_mass[w, body], com + offset) - old
    inverse = _inverse(inertia)

    bodies = parameters.body_mass.shape[1]
    for row in range(nominal.row_constant.shape[0]):
        weight = nominal.row_constant[row]
        for i in range(6):
            for j in range(6):
                weight += nominal.row_factor[row, i, j] * inverse[i, j]
        if row < 2 * bodies:
            parameters.body_invweight0[w, row // 2, row % 2] = weight
        else:
            parameters.dof_invweight0[w, row - 2 * bodies] = weight
    # The base's own bodies: their translation is that of a centre of mass that moves.
    for b in range(nominal.base_bodies.shape[0]):
        factor = _point_inertia(1.0, nominal.base_com[b] + offset)
        weight = float(0.0)
        for i in range(6):
            for j in range(6):
                weight += factor[i, j] * inverse[i, j]
        parameters.body_invweight0[w, nominal.base_bodies[b], 0] = weight / 3.0


@wp.kernel
def randomize(mask: wp.array[bool], nominal: Nominal, parameters: Parameters):
    """Let the masked worlds' models follow from their parameters."""
    w = wp.tid()
    if not mask[w]:
        return
    for i in range(nominal.robot_geoms.shape[0]):
        parameters.geom_friction[w, nominal.robot_geoms[i], 0] = parameters.friction[w]

    body = nominal.base_bodies[0]
    parameters.body_mass[w, body] = nominal.body_mass[body] + parameters.added_mass[w]
    above = body
    while above > 0:
        parameters.body_subtreemass[w, above] = nominal.body_subtreemass[above] + parameters.added_mass[w]
        above = nominal.body_parent[above]
    parameters.body_subtreemass[w, 0] = nominal.body_subtreemass[0] + parameters.added_mass[w]
    offset = wp.vec3(parameters.mass_offset[w, 0], parameters.mass_offset[w, 1], parameters.mass_offset[w, 2])
    for b in range(nominal.base_bodies.shape[0]):
        base = nominal.base_bodies[b]
        ipos = nominal.body_ipos[base] + nominal.root_to_base[b] @ offset
        for i in range(3):
            parameters.body_ipos[w, base, i] = ipos[i]
    _invweights(w, nominal, parameters)

    for motor in range(nominal.stiffness.shape[0]):
        strength = parameters.motor_strength[w, motor]
        stiffness = nominal.stiffness[motor] * parameters.stiffness[w, motor] * strength
        parameters.actuator_gainprm[w, motor, 0] = stiffness
        parameters.actuator_biasprm[w, motor, 1] = -stiffness
        parameters.actuator_biasprm[w, motor, 2] = -nominal.damping[motor] * parameters.damping[w, motor] * strength
        for i in range(2):
            parameters.actuator_forcerange[w, motor, i] = nominal.forcerange[motor, i] * strength
