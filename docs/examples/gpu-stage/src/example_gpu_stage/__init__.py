"""A processor whose work is done on a GPU, and which says so."""

from example_gpu_stage._processor import EmbedProcessor

__all__ = ["EmbedProcessor"]
