"""Encoders and decoders: plain modules for a single device, independent of losses and trainers."""

from vaelab.backbones.backbone import Decoder, Encoder
from vaelab.backbones.conv import ConvDecoder, ConvEncoder
from vaelab.backbones.mlp import MLPDecoder, MLPEncoder
from vaelab.backbones.resnet import ResNetDecoder, ResNetEncoder

__all__ = [
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "Encoder",
    "MLPDecoder",
    "MLPEncoder",
    "ResNetDecoder",
    "ResNetEncoder",
]
