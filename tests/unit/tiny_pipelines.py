"""Pipelines of every family that the noise mark serves, with tiny random weights and a vocabulary of letters."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WIDTH = 32

torch.set_num_threads(1)  # networks this small lose more to threads than they gain


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def clip_text(projected: bool = False):
    config = CLIPTextConfig(
        vocab_size=64,
        hidden_size=WIDTH,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        projection_dim=WIDTH,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5(folder: Path):
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -1.0) for letter in LETTERS), ("▁", -1.0)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0)
    config = T5Config(vocab_size=64, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=2, num_heads=4, is_gated_act=False)
    return tokenizer, T5EncoderModel(config).eval()


class Mosaic(AutoencoderKL):
    """An autoencoder whose encoder undoes its decoder, but for the rounding of pixels: its channels are mosaics."""

    GAIN = 0.008

    @property
    def factor(self) -> int:
        return 2 ** (len(self.config.block_out_channels) - 1)

    def _tiles(self):
        seeded = torch.Generator().manual_seed(5)
        return torch.linalg.qr(torch.randn(3 * self.factor**2, self.config.latent_channels, generator=seeded)).Q

    def decode(self, z, return_dict=True, generator=None):
        pixels = torch.einsum("pc,nchw->nphw", self._tiles(), z * self.GAIN)
        made = torch.nn.functional.pixel_shuffle(pixels, self.factor)
        return DecoderOutput(sample=made) if return_dict else (made,)

    def encode(self, x, return_dict=True):
        pixels = torch.nn.functional.pixel_unshuffle(x, self.factor)
        seen = torch.einsum("pc,nphw->nchw", self._tiles(), pixels) / self.GAIN
        law = DiagonalGaussianDistribution(torch.cat((seen, torch.full_like(seen, -30.0)), dim=1))
        return AutoencoderKLOutput(latent_dist=law) if return_dict else (law,)


def vae(channels: int = 4, blocks: int = 2, shift: float | None = None) -> Mosaic:
    return Mosaic(
        block_out_channels=(8,) * blocks,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=channels,
        sample_size=64,
        shift_factor=shift,
    ).eval()


def unet(channels: int = 4, **more: object) -> UNet2DConditionModel:
    parts = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "sample_size": 32,
        "in_channels": channels,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 4,
    }
    return UNet2DConditionModel(**{**parts, **more}).eval()


def vp(prediction: str = "epsilon", **more: object) -> DDIMScheduler:
    """The schedule of Stable Diffusion."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
        **more,
    )


def stable_diffusion(folder: Path, prediction: str = "epsilon") -> StableDiffusionPipeline:
    return quiet(
        StableDiffusionPipeline(
            vae=vae(),
            text_encoder=clip_text(),
            tokenizer=clip_tokenizer(folder),
            unet=unet(),
            scheduler=vp(prediction),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def inpainting(folder: Path) -> StableDiffusionInpaintPipeline:
    """With a UNet of its own: nine channels, the picture and its mask among them."""
    parts = stable_diffusion(folder).components
    return quiet(StableDiffusionInpaintPipeline(**{**parts, "unet": unet(9)}, requires_safety_checker=False))


def stable_diffusion_xl(folder: Path) -> StableDiffusionXLPipeline:
    return quiet(
        StableDiffusionXLPipeline(
            vae=vae(),
            text_encoder=clip_text(),
            text_encoder_2=clip_text(projected=True),
            tokenizer=clip_tokenizer(folder),
            tokenizer_2=clip_tokenizer(folder),
            unet=unet(
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=WIDTH + 48,
                cross_attention_dim=2 * WIDTH,
            ),
            scheduler=vp(),
            add_watermarker=False,
        )
    )


def stable_diffusion_3(folder: Path) -> StableDiffusion3Pipeline:
    tokenizer, encoder = t5(folder)
    return quiet(
        StableDiffusion3Pipeline(
            transformer=SD3Transformer2DModel(
                sample_size=16,
                patch_size=1,
                in_channels=16,
                out_channels=16,
                num_layers=1,
                attention_head_dim=8,
                num_attention_heads=4,
                joint_attention_dim=WIDTH,
                caption_projection_dim=WIDTH,
                pooled_projection_dim=2 * WIDTH,
            ).eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=vae(16, 3, shift=0.06),
            text_encoder=clip_text(projected=True),
            tokenizer=clip_tokenizer(folder),
            text_encoder_2=clip_text(projected=True),
            tokenizer_2=clip_tokenizer(folder),
            text_encoder_3=encoder,
            tokenizer_3=tokenizer,
        )
    )


def flux(folder: Path) -> FluxPipeline:
    tokenizer, encoder = t5(folder)
    return quiet(
        FluxPipeline(
            transformer=FluxTransformer2DModel(
                patch_size=1,
                in_channels=64,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=WIDTH,
                pooled_projection_dim=WIDTH,
                axes_dims_rope=(4, 4, 8),
                guidance_embeds=True,
            ).eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=vae(16, 3, shift=0.1),
            text_encoder=clip_text(),
            tokenizer=clip_tokenizer(folder),
            text_encoder_2=encoder,
            tokenizer_2=tokenizer,
        )
    )


def pixels(kind: type = DDIMPipeline, channels: int = 3) -> DDIMPipeline | DDPMPipeline:
    model = UNet2DModel(
        sample_size=32,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    )
    return quiet(kind(unet=model.eval(), scheduler=vp("v_prediction", timestep_spacing="trailing")))


FAMILIES = {
    "sd-epsilon": stable_diffusion,
    "sd-v": lambda folder: stable_diffusion(folder, "v_prediction"),
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux": flux,
    "ddim": lambda _folder: pixels(),
    "ddpm": lambda _folder: pixels(DDPMPipeline),
}


def build(name: str, folder: Path):
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FAMILIES[name](folder)
