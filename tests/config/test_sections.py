"""A section that is added to another later on is as if it had been written there; what cannot be one is refused."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, field, fields, replace

import pytest
from omegaconf import OmegaConf

from legged_gym_ext.config.sections import add_section


@dataclass
class Wheels:
    number: int = 4
    radii: list[float] = field(default_factory=lambda: [0.3, 0.3])


def make_owner() -> type:
    @dataclass
    class Car:
        name: str = "car"
        doors: list[int] = field(default_factory=lambda: [1, 2])

        @property
        def title(self) -> str:
            return self.name.title()

    return Car


def test_an_added_section_is_as_if_it_had_been_written_there() -> None:
    owner = make_owner()
    add_section(owner, "wheels", Wheels)

    @dataclass
    class Spare:
        number: int = 1

    add_section(owner, "spare", Spare)
    one, two = owner(), owner()
    assert list(inspect.signature(owner).parameters) == [f.name for f in fields(owner)]
    assert [f.name for f in fields(owner)] == ["name", "doors", "wheels", "spare"]
    assert one == two and one.wheels is not two.wheels and one.doors is not two.doors
    assert one.wheels == Wheels() and one.title == "Car"
    one.wheels.radii[0] = 0.5
    assert one != two and "radii=[0.5, 0.3]" in repr(one)
    assert owner(wheels=Wheels(number=3)).wheels.number == 3
    assert replace(two, name="van").wheels == Wheels()
    assert asdict(two)["wheels"] == {"number": 4, "radii": [0.3, 0.3]}
    tree = OmegaConf.structured(owner)
    tree.wheels.number = 6
    assert OmegaConf.to_object(tree) == owner(wheels=Wheels(number=6))


@dataclass
class Required:
    number: int


@pytest.mark.parametrize(
    ("name", "section", "message"),
    [
        ("name", Wheels, "Car has a 'name' already"),
        ("doors", Wheels, "Car has a 'doors' already"),
        ("title", Wheels, "Car has a 'title' already"),  # a property, no field
        ("all wheels", Wheels, "'all wheels' cannot be a key"),
        ("class", Wheels, "'class' cannot be a key"),
        ("", Wheels, "'' cannot be a key"),
        ("wheels", Wheels(), "expected a dataclass, got Wheels"),
        ("wheels", dict, "expected a dataclass, got <class 'dict'>"),
        ("wheels", Required, "its field 'number' has no default"),
    ],
)
def test_what_cannot_be_a_section_is_refused_and_changes_nothing(name: str, section: type, message: str) -> None:
    owner = make_owner()
    before = dict(vars(owner))
    with pytest.raises(ValueError, match=message):
        add_section(owner, name, section)
    assert dict(vars(owner)) == before
    assert repr(owner()).endswith("Car(name='car', doors=[1, 2])")
