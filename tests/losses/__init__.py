"""Tests of the detection losses."""
