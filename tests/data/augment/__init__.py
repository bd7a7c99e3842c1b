"""Tests of tutelage.data.augment."""
