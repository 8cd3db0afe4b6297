"""The small networks that the regeneration attacks use: shapes, recipe, weights and their records."""
