"""Tests of an exchange: one request from claim to conclusion."""
