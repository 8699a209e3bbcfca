"""nnU-Net v2's trained models and plans: what can be mapped exactly is taken over, all else refused with a reason."""
