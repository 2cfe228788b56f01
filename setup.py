"""Install the package. What was tested is pinned in constraints.txt; the ranges here are what should work."""

import re
from pathlib import Path

from setuptools import find_packages, setup

TOP = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+?)"', (TOP / "legged_gym_ext" / "__init__.py").read_text("utf-8"))
assert VERSION, "no __version__ in legged_gym_ext/__init__.py"
DATA = {"legged_gym_ext.configs": "configs", "legged_gym_ext.resources": "resources"}

setup(
    name="legged_gym_ext",
    version=VERSION[1],
    description="Legged robots that learn parkour from a depth camera",
    long_description=(TOP / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The legged_gym_ext authors",
    license="BSD-3-Clause",
    python_requires=">=3.11",
    # configs/ and resources/ stand at the top of the repository; a wheel has them inside of the package (see paths.py).
    packages=[*find_packages(str(TOP), include=["legged_gym_ext", "legged_gym_ext.*"]), *DATA],
    package_dir=DATA,
    package_data={
        **dict.fromkeys(DATA, ["**/*"]),
        "legged_gym_ext.evaluation": ["templates/*"],
        "legged_gym_ext.deploy": ["cpp/*", "templates/*"],
    },
    entry_points={
        "console_scripts": [
            "legged-gym-train=legged_gym_ext.commands.train:command",
            "legged-gym-play=legged_gym_ext.commands.play:command",
            "legged-gym-evaluate=legged_gym_ext.commands.evaluate:command",
            "legged-gym-export=legged_gym_ext.commands.export:command",
            "legged-gym-runs=legged_gym_ext.commands.runs:command",
        ]
    },
    install_requires=[
        "torch>=2.11,<3",
        "numpy>=2.1,<3",
        "rsl-rl-lib>=5.5.1,<5.6",  # its runner and storage are subclassed
        "tensordict>=0.12,<1",
        "mujoco>=4.0,<5",
        "mujoco-warp>=4.0,<5",
        "warp-lang>=1.15,<2",
        "numba>=0.66,<1",
        "omegaconf>=2.4,<3",
        "pyyaml>=6.0.2,<7",
        "tensorboard>=2.18,<3",
        "wandb>=0.25,<1",
        "matplotlib>=3.9.2,<4",
        "imageio-ffmpeg>=0.5,<1",
        "pillow>=11,<14",
        "jinja2>=3.1,<4",  # reports
        "rich>=14,<16",  # a training's state on a terminal
        "onnx>=1.20,<2",  # exported policies
        "onnxruntime>=1.24,<2",
        "viser>=1.1,<1.2",  # rendering/web has its server ask for a token, through what it calls of websockets
        "websockets>=14,<17",
        "trimesh>=4,<6",
    ],
    extras_require={
        "dashboard": ["wandb-workspaces>=0.4,<0.5"],  # a preview, which is needed once for a project
        "test": [
            "wandb-workspaces>=0.4,<0.5",
            "pytest>=8,<10",
            "pytest-xdist>=3.6,<4",
            "hypothesis>=6.112,<7",
            "ruff>=0.16,<1",
            "pyright[nodejs]>=1.1.400,<2",
            "setuptools>=77,<90",
            "pyte>=0.8,<1",  # a terminal that tests look at
            "scipy>=1.14.1,<2",  # what intervals are checked against
            "isaacgym-stubs>=1.1rc4,<2",  # what the double of Isaac Gym is checked against
        ],
        "docs": [
            "zensical>=0.0.73,<0.2",
            "mkdocstrings>=1,<2",
            "mkdocstrings-python>=2,<3",
        ],
        "browser": ["playwright>=1.50,<2"],  # drives the system's Chromium, for the test of the web viewer
    },
)
