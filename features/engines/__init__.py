"""Engines that make shards in several processes, on one machine or many, with the same bytes as in one."""
