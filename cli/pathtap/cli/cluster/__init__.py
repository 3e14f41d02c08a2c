"""The way to a collector in a cluster: kubeconfig, credentials, ConfigMap, port-forward. `tunnel` is its front door."""
