# MuJoCo's compiled modules have no type information; without this, a type checker takes every name for an error.
from typing import Any

def __getattr__(name: str) -> Any: ...
