"""What a kubeconfig's user has to show, read or run once: the command is over before it expires."""

from collections.abc import Mapping
from typing import Any

from pathtap.cli.cluster import plugin
from pathtap.cli.cluster.kubeconfig import Entry
from pathtap.cli.cluster.server import pem
from pathtap.cli.cluster.tokens import checked, token_file
from pathtap.cli.cluster.values import Credential, Terminal
from pathtap.cli.errors import CommandError

# Kubernetes itself removed them: 1.19 (basic), 1.26 (auth-provider).
_GONE = ("username", "password", "auth-provider")
_IMPERSONATION = ("as", "as-uid", "as-groups", "as-user-extra")


def credential_of(
    user: Entry, cluster: Mapping[str, Any], environment: Mapping[str, str], terminal: Terminal
) -> Credential:
    """From a user entry (client-go, clientcmd/api/v1 `AuthInfo`); `cluster` is for an exec plugin. Raises CommandError.

    What is written down wins over the plugin, as in client-go.
    """
    whose = f"The kubeconfig's user {user.name}"
    for key in _GONE:
        if user.value.get(key):
            raise CommandError(f"{whose} has {key}, which Kubernetes knows no longer. Use an exec plugin or a token.")
    for key in _IMPERSONATION:
        if user.value.get(key):
            raise CommandError(
                f"{whose} impersonates somebody ({key}): the collector takes people for themselves alone."
            )
    certificate, key_pem = pem(user, "client-certificate"), pem(user, "client-key")
    if (certificate is None) != (key_pem is None):
        raise CommandError(f"{whose} has a client certificate or a key, but not both.")
    written = Credential(token=_token(user), certificate=certificate or b"", key=key_pem or b"")
    if written.token or written.certificate:
        return written
    if user.value.get("exec"):
        return plugin.run(user, cluster, environment, terminal)
    who = whose if user.name else "The kubeconfig's context names no user: it"
    raise CommandError(f"{who} has neither a token nor a client certificate, so that nobody could know who asks.")


def _token(user: Entry) -> str:
    """A token file wins over a token, since it is the one that somebody renews."""
    if path := user.value.get("tokenFile"):
        return token_file(user.directory / str(path), f"The tokenFile of the kubeconfig's user {user.name},")
    token = str(user.value.get("token") or "")
    return checked(token, f"The kubeconfig's user {user.name}") if token else ""
