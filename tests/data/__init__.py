"""Tests of tutelage.data."""
