"""Losses as pure functions on tensors, by what they compare.

Shapes: `B` batch, `K` classes or regions, then the spatial axes. Masks are `(B, 1, *spatial)`, true where a voxel
counts. All sums run in float32, whatever the network computed in (in float64 where that is given).

Where not every class was annotated in every sample, `annotated` is `(B, K)`, true where class and sample go together.
"""
