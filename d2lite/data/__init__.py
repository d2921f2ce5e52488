"""Real images and a text, small enough to ship, and scenes: ``train, test = fashion_mnist()``."""

from d2lite.data.fashion_mnist import fashion_mnist
from d2lite.data.help_topics import help_topics
from d2lite.data.labelled_images import LabelledImages
from d2lite.data.latent_nets import latent_nets
from d2lite.data.scenes import Scenes, scenes
from d2lite.data.small_detector import small_detector
from d2lite.data.small_nets import small_nets
from d2lite.data.stories import Story, stories

__all__ = [
    "LabelledImages",
    "Scenes",
    "Story",
    "fashion_mnist",
    "help_topics",
    "latent_nets",
    "scenes",
    "small_detector",
    "small_nets",
    "stories",
]
