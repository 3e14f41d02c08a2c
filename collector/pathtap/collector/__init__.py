"""The collector: knows the cluster, drives the agents, joins what they saw into one path and judges it."""
