"""Training: one generic loop that receives its parts."""
