"""The layout as a workspace of Weights & Biases, which their package ``wandb-workspaces`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from legged_gym_ext.dashboard.layout import Panel, Section, Shows
from legged_gym_ext.errors import UserError
from legged_gym_ext.recording.entries import ITERATION

SMOOTHING = 0.6
NAME = "legged_gym_ext"


def workspace(sections: Sequence[Section], project: str, entity: str) -> Any:
    """Return the workspace, which is not yet anywhere but here.

    Raises:
        UserError: The package is not installed.
    """
    ws, wr = packages()
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(
                name=section.title,
                is_open=section.open,
                pinned=number == 0,
                panels=[_panel(wr, panel) for panel in section.panels],
                layout_settings=ws.SectionLayoutSettings(columns=section.columns, rows=2),
            )
            for number, section in enumerate(sections)
        ],
        settings=ws.WorkspaceSettings(x_axis=ITERATION, smoothing_type="exponential", smoothing_weight=60),
    )


def packages() -> tuple[Any, Any]:
    """Return the modules of workspaces and of their panels."""
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError(
            f"a workspace needs the package wandb-workspaces ({error}): pip install 'legged_gym_ext[dashboard]'"
        ) from error
    return ws, wr


def _panel(wr: Any, panel: Panel) -> Any:
    match panel.shows:
        case Shows.CURVES:
            return wr.LinePlot(
                title=panel.title,
                x=ITERATION,
                y=list(panel.tags),
                log_y=panel.logarithmic or None,
                smoothing_type="exponential",
                smoothing_factor=SMOOTHING,
            )
        case Shows.TABLE:
            (tag,) = panel.tags
            return wr.WeavePanelSummaryTable(table_name=tag)
        case _:  # histograms, too, are drawn by what shows media
            return wr.MediaBrowser(title=panel.title, media_keys=list(panel.tags), num_columns=len(panel.tags))
