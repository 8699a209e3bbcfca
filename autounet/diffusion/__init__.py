"""Diffusion: how noise is laid over images and taken off again, and what images are conditioned on."""
