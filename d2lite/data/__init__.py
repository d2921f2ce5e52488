"""Real images and a text, small enough to ship; scenes, commands and stories, made from a seed."""

from d2lite.data.commands import commands
from d2lite.data.fashion_mnist import fashion_mnist
from d2lite.data.help_topics import help_topics
from d2lite.data.labelled_images import LabelledImages
from d2lite.data.latent_nets import latent_nets
from d2lite.data.scenes import Scenes, caption_of_boxes, scenes
from d2lite.data.small_detector import small_detector
from d2lite.data.small_nets import small_nets
from d2lite.data.small_transformer import small_transformer
from d2lite.data.stories import Story, stories

__all__ = [
    "LabelledImages",
    "Scenes",
    "Story",
    "caption_of_boxes",
    "commands",
    "fashion_mnist",
    "help_topics",
    "latent_nets",
    "scenes",
    "small_detector",
    "small_nets",
    "small_transformer",
    "stories",
]
