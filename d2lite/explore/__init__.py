"""Explorers: interactive figures that live on a static page and in Jupyter alike."""

from d2lite.explore.activation import ActivationExplorer
from d2lite.explore.adversarial import AdversarialExplorer
from d2lite.explore.architecture import ArchitectureExplorer
from d2lite.explore.augmentation import AugmentationExplorer
from d2lite.explore.backward import BackwardExplorer
from d2lite.explore.boxes import BoxesExplorer
from d2lite.explore.channels import ChannelsExplorer
from d2lite.explore.convolution import ConvolutionExplorer
from d2lite.explore.detector import DetectorExplorer
from d2lite.explore.gan import GANExplorer
from d2lite.explore.latent import LatentExplorer
from d2lite.explore.lenet import LeNetExplorer
from d2lite.explore.normalization import NormalizationExplorer
from d2lite.explore.optimizer import OptimizerExplorer
from d2lite.explore.output_size import OutputSizeExplorer
from d2lite.explore.receptive_field import ReceptiveFieldExplorer
from d2lite.explore.schedule import ScheduleExplorer
from d2lite.explore.training import TrainingExplorer
from d2lite.explore.transformer import TransformerExplorer
from d2lite.explore.transposed import TransposedExplorer
from d2lite.explore.vit import ViTExplorer

__all__ = [
    "ActivationExplorer",
    "AdversarialExplorer",
    "ArchitectureExplorer",
    "AugmentationExplorer",
    "BackwardExplorer",
    "BoxesExplorer",
    "ChannelsExplorer",
    "ConvolutionExplorer",
    "DetectorExplorer",
    "GANExplorer",
    "LatentExplorer",
    "LeNetExplorer",
    "NormalizationExplorer",
    "OptimizerExplorer",
    "OutputSizeExplorer",
    "ReceptiveFieldExplorer",
    "ScheduleExplorer",
    "TrainingExplorer",
    "TransformerExplorer",
    "TransposedExplorer",
    "ViTExplorer",
]
