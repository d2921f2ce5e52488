"""The vocabulary of *Convolutional Networks by Experiment*.

Each module is named after the chapter that teaches it. Import what a chapter names::

    from d2lite.conv import conv2d
    from d2lite.shapes import conv_output_size
    from d2lite.trace import trace
"""

__version__ = "0.1.0"
