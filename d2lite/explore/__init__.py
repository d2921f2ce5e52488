"""Explorers: interactive figures that live on a static page and in Jupyter alike."""

from d2lite.explore.convolution import ConvolutionExplorer
from d2lite.explore.output_size import OutputSizeExplorer

__all__ = ["ConvolutionExplorer", "OutputSizeExplorer"]
