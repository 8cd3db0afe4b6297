"""An autoencoder and a denoiser of photographs, each under half a million parameters, for pictures of any size.

Both are convolutional with no normalization over the picture, so that what becomes of a pixel depends only on the
``REACH`` pixels around it, and a picture may be handled in tiles. Pictures are float32 (n, 3, height, width) with
levels 0 to 1, and sides that are multiples of ``MULTIPLE``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

MULTIPLE = 8
REACH = 128
# Mean and standard deviation of a photograph's levels, roughly: what the networks see is of unit size.
_MIDDLE, _SPREAD = 0.5, 0.25


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        return x + self.second(torch.nn.functional.silu(self.first(torch.nn.functional.silu(x))))


class Autoencoder(nn.Module):
    """A variational autoencoder of 16 latents for each 8x8 pixels whose posterior is as wide as the caller asks.

    The latents of ``encode`` have mean 0 and variance 1 over photographs, like the prior. At ``strength`` s the
    posterior is N(sqrt(1 - s^2) latents, s^2): 0 keeps all that the latents hold, 1 keeps nothing.
    """

    latents = 16

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, 48, 3, padding=1),
            Residual(48),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            Residual(64),
            nn.Conv2d(64, self.latents, 1),
            nn.BatchNorm2d(self.latents, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(self.latents + 1, 64, 3, padding=1),
            Residual(64),
            Residual(64),
            nn.Conv2d(64, 4 * 48, 1),
            nn.PixelShuffle(2),
            Residual(48),
            Residual(48),
            nn.Conv2d(48, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def encode(self, pictures: Tensor) -> Tensor:
        """Return latents (n, 16, height / 8, width / 8)."""
        latents: Tensor = self.encoder((pictures - _MIDDLE) / _SPREAD)
        return latents

    def decode(self, sampled: Tensor, strength: Tensor) -> Tensor:
        """Return pictures of latents sampled at ``strength`` (n,)."""
        level = strength.view(-1, 1, 1, 1).expand(-1, 1, *sampled.shape[2:])
        pictures: Tensor = self.decoder(torch.cat([sampled, level], 1)) * _SPREAD + _MIDDLE
        return pictures

    def forward(self, pictures: Tensor, noise: Tensor, strength: Tensor) -> Tensor:
        """Encode, sample with ``noise`` of the latents' shape, decode."""
        width = strength.view(-1, 1, 1, 1)
        return self.decode((1 - width**2).sqrt() * self.encode(pictures) + width * noise, strength)


class Denoiser(nn.Module):
    """A small U-Net that estimates the clean picture, given the noise level (Karras and others, 2022, section 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(12 + 1, 48, 3, padding=1)
        self.fine = nn.Sequential(Residual(48))
        self.down = nn.Conv2d(48, 64, 3, stride=2, padding=1)
        self.coarse = nn.Sequential(Residual(64), Residual(64), Residual(64))
        self.up = nn.Conv2d(64, 4 * 48, 1)
        self.join = nn.Sequential(Residual(48), Residual(48))
        self.leave = nn.Conv2d(48, 12, 3, padding=1)

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Return the expected clean pictures of ``noisy``, where noise of ``sigma`` (n,) in levels was added."""
        width = sigma.view(-1, 1, 1, 1) / _SPREAD
        seen = (noisy - _MIDDLE) / _SPREAD
        size = (1 + width**2).sqrt()
        halved = pixel_unshuffle(seen / size, 2)
        level = (width.log() / 2).expand(-1, 1, *halved.shape[2:])
        fine = self.fine(self.enter(torch.cat([halved, level], 1)))
        wide = pixel_shuffle(self.up(self.coarse(self.down(fine))), 2)
        change = pixel_shuffle(self.leave(self.join(fine + wide)), 2)
        clean: Tensor = seen / size**2 + width / size * change
        return clean * _SPREAD + _MIDDLE
