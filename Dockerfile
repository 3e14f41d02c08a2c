# Both images of pathtap: --target agent, --target collector. tools/build-images builds them without a daemon.
#
# The base is Debian 12, by whatever name: the programs that print rules (iptables, nft) and the libraries that the agent loads
# (libxtables, libpcap) are Debian's, and so is Python 3.11.
ARG BASE=debian:12.12-slim

FROM ${BASE} AS python
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*

# Makes wheels. Of this stage and the three that follow only /opt/pathtap reaches an image. What a person set for pip (an index, a
# certificate) is not in here: mount it, as tools/build-images does. Few steps: without overlays each costs a copy.
FROM python AS build
COPY deploy/images/build.txt /src/
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null \
 && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --quiet --no-cache-dir --require-hashes -r /src/build.txt \
 && python3 -m venv --without-pip /opt/pathtap

# With a compiler, for python-iptables. Test suites of libraries are of no use here; bytecode is, as nothing can be written where
# this runs.
FROM build AS agent-packages
COPY deploy/images/agent.txt /src/
RUN DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev python3-dev >/dev/null \
 && /opt/build/bin/pip wheel --quiet --no-cache-dir --no-build-isolation --require-hashes -r /src/agent.txt -w /wheels \
 && /opt/build/bin/pip --python /opt/pathtap install --quiet --no-index --no-deps /wheels/* \
 && find /opt/pathtap -type d -name tests -prune -exec rm -rf {} +

FROM build AS collector-packages
COPY deploy/images/collector.txt /src/
RUN /opt/build/bin/pip wheel --quiet --no-cache-dir --no-build-isolation --require-hashes -r /src/collector.txt -w /wheels \
 && /opt/build/bin/pip --python /opt/pathtap install --quiet --no-index --no-deps /wheels/* \
 && find /opt/pathtap -type d -name tests -prune -exec rm -rf {} +

# .dockerignore says what that is.
FROM build AS pathtap
COPY . /src/
RUN /opt/build/bin/pip wheel --quiet --no-cache-dir --no-build-isolation --no-deps -w /wheels /src \
 && /opt/build/bin/pip --python /opt/pathtap install --quiet --no-index --no-deps /wheels/*

# Numeric users: `runAsNonRoot` cannot be checked against a name.
FROM python AS collector
COPY --from=collector-packages /opt/pathtap /opt/pathtap
COPY --from=pathtap /opt/pathtap /opt/pathtap
ENV PATH=/opt/pathtap/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 65532:65532
ENTRYPOINT ["pathtap-collector"]

# uid 0, which files of the node under /etc/cni and /proc belong to; what it may do is what the manifest's capabilities say.
FROM python AS agent
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      iptables libpcap0.8 nftables python3-distutils >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
COPY --from=agent-packages /opt/pathtap /opt/pathtap
COPY --from=pathtap /opt/pathtap /opt/pathtap
ENV PATH=/opt/pathtap/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
USER 0:0
ENTRYPOINT ["pathtap-agent"]
