"""Prediction: tiles, sliding window, predictor, export."""
