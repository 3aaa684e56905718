"""Readers that several datasets share: tables, IDX files."""
