"""The student's networks for those who have torch and nothing of ours: state dicts, and Python that builds modules.

The Python goes into the folder's README, and an export is only done if what it says gives the student's actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent

from torch import Tensor, nn

from legged_gym_ext.deploy.document import render
from legged_gym_ext.models.encoders.gru import GruEncoder
from legged_gym_ext.models.student import Student
from legged_gym_ext.models.teacher import plain_mlp


@dataclass(frozen=True)
class Plain:
    """A network as its state dict, and as the Python that makes the modules to load it into."""

    state: Mapping[str, Tensor]
    python: str | None
    """An expression of ``nn``; None where the network has modules that are not torch's."""


def plain_networks(student: Student) -> dict[str, Plain]:
    """Return depth encoder and actor by the name of their files."""
    encoder, actor = student.encoder, plain_mlp(student)
    parts = dict(encoder.named_children())
    entries = "".join(f'    "{name}": {indent(python(part), "    ").lstrip()},\n' for name, part in parts.items())
    torchs = all(map(_is_torchs, parts.values())) and not list(encoder.parameters(recurse=False))
    return {
        "depth_encoder": Plain(_state(encoder), f"nn.ModuleDict({{\n{entries}}})" if torchs else None),
        "student_actor": Plain(_state(actor), python(actor) if _is_torchs(actor) else None),
    }


def plain_policy(student: Student) -> str | None:
    """Return Python that runs a folder with torch alone; None where it is not known how the modules follow one another.

    It defines ``load(folder)``, which returns ``policy(depth, raw, memory)``; see its docstring.
    """
    networks = plain_networks(student)
    known = type(student.encoder).forward_sequence is GruEncoder.forward_sequence
    if not known or any(network.python is None for network in networks.values()):
        return None
    return render("plain.py.j2", networks=networks, num_proprio=student.num_proprio)


def python(module: nn.Module) -> str:
    """Return an expression that makes such a module: torch's modules are written as they are made."""
    if isinstance(module, nn.Sequential):
        lines = "".join(f"    {indent(python(part), '    ').lstrip()},\n" for part in module)
        return f"nn.Sequential(\n{lines})"
    return f"nn.{module!r}"


def _is_torchs(module: nn.Module) -> bool:
    if isinstance(module, nn.Sequential):
        return all(_is_torchs(part) for part in module)
    return type(module).__module__.startswith("torch.nn.modules.")


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of a module's tensors on the CPU, in the usual order in memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}
