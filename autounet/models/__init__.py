"""Trained models on disk: what they are, where they are, and loading them."""
