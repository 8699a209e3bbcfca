"""Pictures of what the pipeline did."""
