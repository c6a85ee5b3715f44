"""The method: fixed points, models, deep supervision and training (torch)."""
