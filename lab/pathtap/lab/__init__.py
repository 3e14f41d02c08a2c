"""A VPC CNI cluster of network namespaces on one machine: demo, fixture of the end-to-end tests, and playground.

Knows how a node's data plane looks (amazon-vpc-cni-k8s, kube-proxy) and builds it; refuses to know how it is traced.
"""
