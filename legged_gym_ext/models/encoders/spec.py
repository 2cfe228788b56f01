"""Depth encoder: CNN, fusion with proprioception, GRU.

After extreme-parkour (Cheng et al., "Extreme Parkour with Legged Robots", 2023).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from legged_gym_ext.device.host_number import HostNumber


class DepthEncoder(nn.Module):
    """Turns depth images and proprioception into a latent vector that remembers what has left the image.

    Its state is the GRU's ``hidden_state`` (1, batch, gru_hidden) and ``image_feature`` (batch, latent_dim), the CNN's
    output for the last camera frame, which stays valid until the next one. Either is None before the first step.

    Args:
        num_proprio: Size of the proprioception.
        image_shape: Rows and columns of the depth image.
        latent_dim: Size of the image feature, of the fused feature and of the latent.
        fusion_hidden: Width of the fusion MLP.
        gru_hidden: Width of the GRU.
    """

    def __init__(
        self,
        num_proprio: int = 43,
        image_shape: Sequence[int] = (64, 64),
        latent_dim: int = 32,
        fusion_hidden: int = 128,
        gru_hidden: int = 512,
    ) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        rows, columns = ((size - 4) // 2 - 2 for size in self.image_shape)  # left by 5x5, halving and 3x3
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=5),
            nn.MaxPool2d(2, 2),
            nn.ELU(),
            nn.Conv2d(32, 64, kernel_size=3),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(64 * rows * columns, 128),
            nn.ELU(),
            nn.Linear(128, latent_dim),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 1.5 times as fast on CPUs
        self.fusion = nn.Sequential(
            nn.Linear(latent_dim + num_proprio, fusion_hidden), nn.ELU(), nn.Linear(fusion_hidden, latent_dim)
        )
        self.gru = nn.GRU(latent_dim, gru_hidden, batch_first=True)
        self.output = nn.Sequential(nn.Linear(gru_hidden, latent_dim), nn.Tanh())
        self.hidden_state: Tensor | None = None
        self.image_feature: Tensor | None = None

    def forward(self, depth_image: Tensor, proprioception: Tensor, new_frame: Tensor | None = None) -> Tensor:
        """Advance one step and return the latent (batch, latent_dim).

        Args:
            depth_image: Depth images (batch, rows, columns), normalized to [-0.5, 0.5].
            proprioception: Proprioception (batch, num_proprio).
            new_frame: Which images have changed since the last call, (batch,) bool; None = all.
        """
        feature = self._current_feature(depth_image, new_frame)
        latent, self.hidden_state = self.forward_sequence(
            feature.unsqueeze(0), proprioception.unsqueeze(0), self.hidden_state
        )
        return latent.squeeze(0)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return the CNN's features (batch, latent_dim) of images (batch, rows, columns) or (batch, rows * columns).

        Images may be of any precision: autocast converts them, or else they are converted to the weights' own.
        """
        if not torch.is_autocast_enabled(images.device.type):
            images = images.to(next(self.cnn.parameters()).dtype)
        return self.cnn(images.reshape(-1, 1, *self.image_shape))

    def forward_sequence(
        self, features: Tensor, proprioception: Tensor, hidden: Tensor | None, dones: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run fusion and GRU over a sequence, starting anew after each end of an episode.

        The GRU runs over whole stretches between the steps at which any environment ends its episode. That was as
        fast on a CPU as a loop over its cell and faster than padded trajectories, and a GPU's fused kernel gains more.

        Args:
            features: Image features (steps, batch, latent_dim).
            proprioception: Proprioception (steps, batch, num_proprio).
            hidden: Hidden state before the first step (1, batch, gru_hidden); None = zeros.
            dones: Whether an episode ended with the step, (steps, batch); None = none did.

        Returns:
            Latents (steps, batch, latent_dim) and the hidden state to go on from, zeroed where the last step was done.
        """
        batch = proprioception.shape[1]
        weights = next(self.gru.parameters())
        state = weights.new_zeros(1, batch, self.gru.hidden_size) if hidden is None else hidden.to(weights.dtype)
        fused = self.fusion(torch.cat([features, proprioception], dim=-1)).transpose(0, 1).to(weights.dtype)
        # On CUDA autocast runs a GRU in float16, whatever type it is told, which the gradients of a mean over a whole
        # rollout are too small for. On a CPU it uses bfloat16 inside, two to three times as fast as float32.
        autocast = torch.autocast("cuda", enabled=False) if fused.is_cuda else contextlib.nullcontext()
        ends = {len(features)}
        if dones is not None:
            ends |= {step + 1 for step, done in enumerate(dones.any(dim=1).tolist()) if done}
        stretches, start = [], 0
        for end in sorted(ends):
            with autocast:
                outputs, state = self.gru(fused[:, start:end], state)
            stretches.append(outputs)
            if dones is not None:
                state = torch.where(dones[end - 1].bool()[None, :, None], 0.0, state)
            start = end
        return self.output(torch.cat(stretches, dim=1).transpose(0, 1)), state

    def reset(self, dones: Tensor | None = None) -> None:
        """Start anew where ``dones`` (batch,); everywhere, and with any batch size, where it is None."""
        if dones is None:
            self.hidden_state = self.image_feature = None
        elif self.hidden_state is not None:
            self.hidden_state = torch.where(dones.bool()[None, :, None], 0.0, self.hidden_state)

    def detach_hidden_states(self) -> None:
        """Cut the state from the graph that made it: backpropagation through time ends here."""
        if self.hidden_state is not None:
            self.hidden_state = self.hidden_state.detach()
        if self.image_feature is not None:
            self.image_feature = self.image_feature.detach()

    def forget_images(self) -> None:
        """Drop the image features: parameters have changed since they were computed."""
        self.image_feature = None

    def _current_feature(self, images: Tensor, new_frame: Tensor | None) -> Tensor:
        """Return the features of the images (batch, latent_dim), computing those of new ones only."""
        if self.image_feature is None or new_frame is None:
            self.image_feature = self.encode_image(images)
        elif count := HostNumber(new_frame.sum()).get():
            rows = torch.argsort(new_frame, descending=True, stable=True)[:count]
            feature = self.encode_image(images.index_select(0, rows))
            self.image_feature = self.image_feature.index_copy(0, rows, feature.to(self.image_feature.dtype))
        return self.image_feature
