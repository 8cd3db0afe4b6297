"""Marks in pictures."""
