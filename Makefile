# Every target does its own set-up: missing Debian packages, a virtual environment, the install.
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin
SOURCES := agent collector proto model cli lab tests bench

.PHONY: images test-kube demo demo-kube bench bench-readme bench-faults bench-outages fuzz fuzz-model compare-frames test unit check lint proto-check format setup clean

demo: setup            ## build a lab, show the traces of the README, take it down
	tools/demo

demo-kube: setup       ## a lab with a real Kubernetes (KUBEBUILDER_ASSETS), traced by a person with a token, taken down again
	tools/demo-kube

fuzz: setup            ## 10,000,000 hostile frames, from the parser to a rendered trace; OPTIONS="--inputs N --seed WORD"
	python tools/fuzz-frames $(OPTIONS)

compare-frames: setup  ## a million frames over a veth, the capture against tshark, one by one; OPTIONS="--frames N"
	python tools/compare-frames $(OPTIONS)

test: setup            ## every test: unit, namespaces, and the demo's traces end to end
	pytest

images: setup          ## both container images as OCI archives in build/images, without a daemon; as root
	tools/build-images

test-kube: setup images  ## what needs a real Kubernetes (KUBEBUILDER_ASSETS): API server, kubelets, the images
	pytest -m kube

unit: setup            ## the tests that need no root
	pytest -m "not netns and not e2e and not kube"

bench: setup           ## measure, in namespaces and labs of its own; writes build/bench.json and .md; GROUPS="capture idle"
	tools/bench-peers
	python -m bench $(GROUPS)

bench-readme: bench    ## the same, all of it, and its table into README.md
	tools/bench-readme

bench-faults: setup    ## how each fault is found, and how fast; writes build/faults.md
	python -m bench.faults

bench-outages: setup   ## how fast a dead peer is noticed and found again, and what traces say; writes build/outages.md
	python -m bench.outages

fuzz-model: setup      ## 10,000 random nodes, the forwarding model against this kernel; OPTIONS="--seed WORD"
	python tools/fuzz-model $(OPTIONS)

check: lint proto-check test   ## what CI runs

lint: setup
	ruff format --check $(SOURCES)
	ruff check $(SOURCES)
	mypy
	lint-imports

proto-check: setup     ## the generated code is what the .proto files say
	tools/check-proto

format: setup
	ruff format $(SOURCES)
	ruff check --fix $(SOURCES)

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml requirements.txt tools/setup
	tools/setup $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build dist
