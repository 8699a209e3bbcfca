"""nnU-Net v2's trained models and plans, taken over: what can be mapped exactly is, all else is refused with a reason."""
