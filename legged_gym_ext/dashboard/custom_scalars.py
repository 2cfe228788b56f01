"""The layout as TensorBoard's custom scalars. Its other pages show all media that there are, by tag."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch.utils.tensorboard.writer import SummaryWriter

from legged_gym_ext.dashboard.layout import Section, Shows

Charts = dict[str, dict[str, list[object]]]


def custom_scalars(sections: Sequence[Section]) -> Charts:
    """Return categories of charts, each with its kind and the patterns of its tags."""
    charts = {
        section.title: {
            panel.title: ["Multiline", [f"^{re.escape(tag)}$" for tag in panel.tags]]
            for panel in section.panels
            if panel.shows is Shows.CURVES
        }
        for section in sections
    }
    return {title: panels for title, panels in charts.items() if panels}


def write(writer: SummaryWriter, sections: Sequence[Section]) -> None:
    """Write the charts."""
    writer.add_custom_scalars(custom_scalars(sections))
